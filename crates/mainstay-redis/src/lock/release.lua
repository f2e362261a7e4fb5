-- KEYS holders, tombstone if one is wanted   ARGV attempt, channel, tombstone's time in milliseconds
if KEYS[2] then
  redis.call('SET', KEYS[2], '', 'PX', ARGV[3])
end
local holders = read(redis.call('GET', KEYS[1]))
for at, holder in ipairs(holders) do
  if holder[ATTEMPT] == ARGV[1] then
    table.remove(holders, at)
    write(KEYS[1], holders)
    redis.call('PUBLISH', ARGV[2], '')
    return 1
  end
end
return 0
