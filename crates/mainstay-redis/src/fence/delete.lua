-- KEYS resource   ARGV fence
local WEEK_MS = 604800000
local seen = redis.call('HGET', KEYS[1], 'fence') or '0'
local fence = ARGV[1]
if #seen > #fence or (#seen == #fence and seen > fence) then
  return seen
end
redis.call('HSET', KEYS[1], 'fence', fence)
redis.call('HDEL', KEYS[1], 'value')
redis.call('PEXPIRE', KEYS[1], WEEK_MS)
return 'OK'
