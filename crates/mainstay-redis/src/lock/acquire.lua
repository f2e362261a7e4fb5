-- KEYS holders, last fence, tombstone   ARGV attempt, permits, ttl, floor, owner
local DAY, WEEK_MS = 86400000000, '604800000'
local attempt, permits, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local written, last, buried = unpack(redis.call('MGET', KEYS[1], KEYS[2], KEYS[3]))
local holders, stepped = read(written)

local least, first, latest = permits, math.huge, nil
for _, holder in ipairs(holders) do
  if holder[ATTEMPT] == attempt then
    holder[TTL], holder[TILL] = ttl, now + ttl
    write(KEYS[1], holders)
    return {'GRANTED', whole(holder[FENCE])}
  end
  least = math.min(least, holder[PERMITS])
  first = math.min(first, holder[TILL])
  latest = holder[FENCE]
end
if buried then
  return {'CANCELLED'}
end
if #holders >= least then
  if stepped then
    write(KEYS[1], holders)
  end
  return {'HELD', whole(first - now), whole(latest)}
end

local floor = math.min(tonumber(ARGV[4]), now + DAY)
local fence = math.max(tonumber(last or 0) + 1, now, floor + 1)
local digits = whole(fence)
redis.call('SET', KEYS[2], digits, 'PX', WEEK_MS)
holders[#holders + 1] = {permits, ttl, now + ttl, now, fence, attempt, ARGV[5]}
write(KEYS[1], holders)
return {'GRANTED', digits}
