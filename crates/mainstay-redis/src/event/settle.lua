-- ARGV: queue, id, receipt, verdict, its time in ms or its cause, most dead letters. Returns 1, or 0 if it stands no more.
local queue, id, verdict = ARGV[1], ARGV[2], ARGV[4]
if redis.call('HEXISTS', STEM .. 'q', queue) == 0 then
  return redis.error_reply('NOQUEUE it is not open')
end
if redis.call('HGET', of(queue, 'h'), id) ~= ARGV[3] or not redis.call('ZSCORE', of(queue, 'p'), id) then
  return 0
end
if verdict == 'retry' then
  redis.call('ZREM', of(queue, 'p'), id)
  redis.call('ZADD', of(queue, 'd'), whole(NOW + tonumber(ARGV[5])), id)
  ring()
  return 1
end
if verdict == 'dead' then
  local found = redis.call('XRANGE', STREAM, id, id)[1]
  if found then
    local letters, index = of(queue, 'x'), of(queue, 'xi')
    local event, subject = field(found[2], 'id'), field(found[2], 'subject') or ''
    local attempts = string.match(ARGV[3], '^%d+')
    local letter = redis.call('XADD', letters, '*', 'type', found[2][2], 'id', event, 'event', field(found[2], 'event'),
      'subject', subject, 'attempts', attempts, 'cause', ARGV[5])
    redis.call('HSET', index, event, letter)
    while redis.call('XLEN', letters) > tonumber(ARGV[6]) do
      local oldest = redis.call('XRANGE', letters, '-', '+', 'COUNT', 1)[1]
      redis.call('XDEL', letters, oldest[1])
      redis.call('HDEL', index, field(oldest[2], 'id'))
      redis.call('HINCRBY', of(queue, 'm'), 'dropped', 1)
    end
  end
end
finish(queue, id)
return 1
