-- KEYS holders   ARGV attempt, fence, ttl
local holders = read(redis.call('GET', KEYS[1]))
for _, holder in ipairs(holders) do
  if holder[ATTEMPT] == ARGV[1] and holder[FENCE] == tonumber(ARGV[2]) then
    holder[TTL] = tonumber(ARGV[3])
    holder[TILL] = now + holder[TTL]
    write(KEYS[1], holders)
    return 1
  end
end
return 0
