-- Gives a tag an epoch it never had.
-- KEYS epoch
-- ARGV ms to remember
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local old = tonumber(redis.call('GET', KEYS[1]) or 0) or 0
redis.call('SET', KEYS[1], string.format('%.0f', math.max(old + 1, now)), 'PX', ARGV[1])
return 1
