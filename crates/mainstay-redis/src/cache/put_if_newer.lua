-- Stores a value of a version unless this or a newer one is known, and breaks the lease.
-- KEYS value, lease, version
-- ARGV envelope, us that it is fresh, ms until it is gone, channel, version of 20 digits, attempt, ms to remember
local known = redis.call('GET', KEYS[3])
if known == ARGV[5] .. ARGV[6] then return 1 end
if known and string.sub(known, 1, 20) >= ARGV[5] then return 0 end
local t = redis.call('TIME')
local fresh_until = string.format('%016.0f', t[1] * 1000000 + t[2] + ARGV[2])
redis.call('SET', KEYS[1], fresh_until .. ARGV[1], 'PX', ARGV[3])
redis.call('SET', KEYS[3], ARGV[5] .. ARGV[6], 'PX', ARGV[7])
if redis.call('DEL', KEYS[2]) == 1 then redis.call('PUBLISH', ARGV[4], 'put') end
return 1
