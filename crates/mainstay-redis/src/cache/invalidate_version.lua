-- Takes a value away and breaks the lease, unless this or a newer version is known.
-- KEYS value, lease, version
-- ARGV channel, version of 20 digits, attempt, ms to remember
local known = redis.call('GET', KEYS[3])
if known == ARGV[2] .. ARGV[3] then return 1 end
if known and string.sub(known, 1, 20) >= ARGV[2] then return 0 end
redis.call('SET', KEYS[3], ARGV[2] .. ARGV[3], 'PX', ARGV[4])
if redis.call('DEL', KEYS[1], KEYS[2]) > 0 then redis.call('PUBLISH', ARGV[1], 'invalidate') end
return 1
