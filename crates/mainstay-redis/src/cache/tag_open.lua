-- The epoch of a tag, which begins with the server's time if the tag is not known.
-- KEYS epoch
-- ARGV ms to remember
local epoch = redis.call('GET', KEYS[1])
if epoch then return epoch end
local t = redis.call('TIME')
epoch = string.format('%.0f', t[1] * 1000000 + t[2])
redis.call('SET', KEYS[1], epoch, 'PX', ARGV[1])
return epoch
