-- Stores a value and breaks the lease.
-- KEYS value, lease
-- ARGV envelope, us that it is fresh, ms until it is gone, channel
local t = redis.call('TIME')
local fresh_until = string.format('%016.0f', t[1] * 1000000 + t[2] + ARGV[2])
redis.call('SET', KEYS[1], fresh_until .. ARGV[1], 'PX', ARGV[3])
if redis.call('DEL', KEYS[2]) == 1 then redis.call('PUBLISH', ARGV[4], 'put') end
return 1
