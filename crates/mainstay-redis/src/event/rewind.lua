-- ARGV: queue, the id to begin behind.
local queue, from = ARGV[1], ARGV[2]
local pattern = redis.call('HGET', STEM .. 'q', queue)
if not pattern then
  return redis.error_reply('NOQUEUE it is not open')
end
local cursor = redis.call('HGET', of(queue, 'm'), 'cursor')
if is_after(cursor, from) then
  if redis.pcall('XPENDING', STREAM, queue).err then
    mend(queue)
  end
  redis.call('HINCRBY', STEM .. 'n', queue, count(queue, pattern, from, cursor))
  redis.call('XGROUP', 'SETID', STREAM, queue, from)
  -- What is delivered again has another receipt than before.
  local life = redis.call('INCR', STEM .. 'l') % 65536
  redis.call('HSET', of(queue, 'm'), 'cursor', from, 'life', life)
  ring()
end
return 1
