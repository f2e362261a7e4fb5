-- Takes a value away and breaks the lease. Returns the head of the value if it was fresh.
-- KEYS value, lease
-- ARGV channel, bytes of a longest head
local t = redis.call('TIME')
local value = redis.call('GET', KEYS[1])
if redis.call('DEL', KEYS[1], KEYS[2]) > 0 then redis.call('PUBLISH', ARGV[1], 'invalidate') end
if not value or (tonumber(string.sub(value, 1, 16)) or 0) <= t[1] * 1000000 + t[2] then return false end
return string.sub(value, 1, ARGV[2])
