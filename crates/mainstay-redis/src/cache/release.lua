-- Ends a lease, or keeps it from everybody for a time, if it is still its holder's.
-- KEYS lease
-- ARGV channel, holder, ms to keep it (0: free at once)
local lease = redis.call('GET', KEYS[1])
if not lease or string.sub(lease, 1, 33) ~= ARGV[2] then return 0 end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], 'K' .. string.sub(lease, 2), 'PX', ARGV[3])
end
redis.call('PUBLISH', ARGV[1], 'release')
return 1
