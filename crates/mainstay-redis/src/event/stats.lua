-- Returns of each queue: name, ordered, unfinished, pending, delayed, dead, dropped, age of the oldest in ms or -1.
local answer, queues = {}, redis.call('HKEYS', STEM .. 'q')
for _, queue in ipairs(queues) do
  local meta = redis.call('HMGET', of(queue, 'm'), 'ordered', 'cursor', 'dropped')
  local pending, delayed = redis.call('ZCARD', of(queue, 'p')), redis.call('ZCARD', of(queue, 'd'))
  local left, oldest = tonumber(redis.call('HGET', STEM .. 'n', queue) or 0), nil
  if left > 0 then
    local summary = redis.pcall('XPENDING', STREAM, queue)
    if not summary.err and summary[2] then
      oldest = parts(summary[2])
    end
    local next = redis.call('XRANGE', STREAM, after(meta[2]), '+', 'COUNT', 1)[1]
    if next then
      local ms = parts(next[1])
      oldest = oldest and math.min(oldest, ms) or ms
    end
  end
  answer[#answer + 1] = {queue, meta[1], left, pending, delayed, redis.call('XLEN', of(queue, 'x')),
    tonumber(meta[3] or 0), oldest and math.max(0, NOW - oldest) or -1}
end
return answer
