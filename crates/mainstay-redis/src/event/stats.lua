-- Returns of each queue: name, ordered, unfinished, pending, delayed, dead, dropped, age of the oldest in ms or -1.
local answer, queues = {}, redis.call('HGETALL', STEM .. 'q')
for at = 1, #queues, 2 do
  local queue, pattern = queues[at], queues[at + 1]
  local meta = redis.call('HMGET', of(queue, 'm'), 'ordered', 'cursor', 'dropped')
  local pending, delayed = redis.call('ZCARD', of(queue, 'p')), redis.call('ZCARD', of(queue, 'd'))
  local left, oldest = tonumber(redis.call('HGET', STEM .. 'n', queue) or 0), nil
  if left > 0 then
    local summary = redis.pcall('XPENDING', STREAM, queue)
    if not summary.err and summary[2] then
      oldest = parts(summary[2])
    end
    -- The next that it takes, or one before that.
    local next
    for _, entry in ipairs(redis.call('XRANGE', STREAM, after(meta[2]), '+', 'COUNT', 100)) do
      next = parts(entry[1])
      if takes(queue, pattern, entry[2]) then
        break
      end
    end
    if next then
      oldest = oldest and math.min(oldest, next) or next
    end
  end
  answer[#answer + 1] = {queue, meta[1], left, pending, delayed, redis.call('XLEN', of(queue, 'x')),
    tonumber(meta[3] or 0), oldest and math.max(0, NOW - oldest) or -1}
end
return answer
