-- Stores what was loaded, if the lease is still its holder's, and ends the lease.
-- KEYS value, lease
-- ARGV envelope, us that it is fresh, ms until it is gone, channel, holder
local lease = redis.call('GET', KEYS[2])
if not lease or string.sub(lease, 1, 33) ~= ARGV[5] then return 0 end
local t = redis.call('TIME')
local fresh_until = string.format('%016.0f', t[1] * 1000000 + t[2] + ARGV[2])
redis.call('SET', KEYS[1], fresh_until .. ARGV[1], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', ARGV[4], 'fill')
return 1
