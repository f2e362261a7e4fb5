-- KEYS holders   ARGV attempt, fence, ttl
local holders = read(redis.call('GET', KEYS[1]))
for _, holder in ipairs(holders) do
  if holder.attempt == ARGV[1] and holder.fence == ARGV[2] then
    holder.ttl = tonumber(ARGV[3])
    holder.till = now + holder.ttl
    write(KEYS[1], holders)
    return 1
  end
end
return 0
