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
  -- What waits for its turn behind `from` is read again too, and waits then behind what was queued now.
  local turns, begin = of(queue, 'r'), padded(from)
  for _, text in ipairs(redis.call('ZRANGEBYLEX', turns, '(' .. begin, '+')) do
    local subject = redis.call('HGET', of(queue, 'os'), plain(text))
    if subject then
      redis.call('HDEL', of(queue, 'o'), subject)
      redis.call('HDEL', of(queue, 'os'), plain(text))
    end
  end
  redis.call('ZREMRANGEBYLEX', turns, '(' .. begin, '+')
  for _, text in ipairs(redis.call('ZRANGE', of(queue, 'w'), 0, -1)) do
    if string.sub(text, -40) > begin then
      redis.call('ZREM', of(queue, 'w'), text)
    end
  end
  -- What is delivered again has another receipt than before.
  local life = redis.call('INCR', STEM .. 'l') % 65536
  redis.call('HSET', of(queue, 'm'), 'cursor', from, 'life', life)
  ring()
end
return 1
