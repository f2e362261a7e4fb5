-- The fresh value of a key, or the lease to fill it; with the time, as TIME gives it.
-- KEYS value, lease
-- ARGV lease, its ms, least freshness in us, mark of a value that is no use, a lease that is broken
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local value = redis.call('GET', KEYS[1])
if value and ARGV[4] ~= '' and string.sub(value, 1, 16) .. string.sub(value, -4) == ARGV[4] then
  value = false
end
local fresh_until = value and tonumber(string.sub(value, 1, 16)) or 0
if fresh_until - now > tonumber(ARGV[3]) then return {'hit', t, value} end
local lease = redis.call('GET', KEYS[2])
if not lease or lease == ARGV[5] then
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
  return {'lease', t, value}
end
if string.sub(lease, 1, 33) == string.sub(ARGV[1], 1, 33) then return {'lease', t, value} end
return {'busy', t, value, lease, redis.call('PTTL', KEYS[2])}
