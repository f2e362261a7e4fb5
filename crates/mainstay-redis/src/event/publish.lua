-- ARGV: most events of a queue, window in ms, then of each event: type, id, subject, envelope.
-- Ids are remembered in two generations, for one to two windows.
local most, window = tonumber(ARGV[1]), ARGV[2]
local young, old = STEM .. 'i0', STEM .. 'i1'
if redis.call('SET', STEM .. 'ig', '', 'NX', 'PX', window) then
  redis.call('UNLINK', old)
  if redis.call('EXISTS', young) == 1 then
    redis.call('RENAME', young, old)
    redis.call('PEXPIRE', old, window)
  end
end
local new = {}
for at = 3, #ARGV, 4 do
  local id = ARGV[at + 1]
  if redis.call('SISMEMBER', young, id) == 0 and redis.call('SISMEMBER', old, id) == 0 then
    new[#new + 1] = at
  end
end
local queues, coming = redis.call('HGETALL', STEM .. 'q'), {}
for at = 1, #queues, 2 do
  local queue, pattern, more = queues[at], queues[at + 1], 0
  for _, event in ipairs(new) do
    if takes(queue, pattern, {'type', ARGV[event]}) then
      more = more + 1
    end
  end
  if more > 0 then
    if tonumber(redis.call('HGET', STEM .. 'n', queue) or 0) + more > most then
      return 0
    end
    coming[#coming + 1] = {queue, more}
  end
end
for _, at in ipairs(new) do
  if ARGV[at + 2] == '' then
    redis.call('XADD', STREAM, '*', 'type', ARGV[at], 'id', ARGV[at + 1], 'event', ARGV[at + 3])
  else
    redis.call('XADD', STREAM, '*', 'type', ARGV[at], 'id', ARGV[at + 1], 'event', ARGV[at + 3], 'subject', ARGV[at + 2])
  end
  redis.call('SADD', young, ARGV[at + 1])
end
if #new > 0 then
  redis.call('PEXPIRE', young, 2 * window)
  for _, more in ipairs(coming) do
    redis.call('HINCRBY', STEM .. 'n', more[1], more[2])
  end
  ring()
end
return 1
