-- KEYS resource   ARGV fence, value
local seen = redis.call('HGET', KEYS[1], 'fence') or '0'
local fence = ARGV[1]
if #seen > #fence or (#seen == #fence and seen > fence) then
  return seen
end
redis.call('HSET', KEYS[1], 'fence', fence, 'value', ARGV[2])
redis.call('PERSIST', KEYS[1])
return 'OK'
