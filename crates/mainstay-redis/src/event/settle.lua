-- ARGV: queue, most dead letters, then of each delivery: id, receipt, verdict, its time in ms or its cause. Returns of
-- each 1, or 0 if its receipt stands no more.
local queue, most = ARGV[1], tonumber(ARGV[2])
if redis.call('HEXISTS', STEM .. 'q', queue) == 0 then
  return redis.error_reply('NOQUEUE it is not open')
end
local ids, answer, ended = {}, {}, {}
for at = 3, #ARGV, 4 do
  ids[#ids + 1] = ARGV[at]
end
local receipts, standing = redis.call('HMGET', of(queue, 'h'), unpack(ids)), {}
for number, id in ipairs(ids) do
  standing[id] = receipts[number]
end

local function retry(id, receipt, after)
  redis.call('ZREM', of(queue, 'p'), id)
  redis.call('ZADD', of(queue, 'd'), whole(NOW + tonumber(after)), id)
  redis.call('HSET', of(queue, 'h'), id, string.match(receipt, '^%d+:'))
  ring()
end

local function bury(id, receipt, cause)
  local found = redis.call('XRANGE', STREAM, id, id)[1]
  if not found then
    return
  end
  local letters, index = of(queue, 'x'), of(queue, 'xi')
  local event, subject = field(found[2], 'id'), field(found[2], 'subject') or ''
  -- It was dead before, if the queue was rewound.
  redis.call('XDEL', letters, redis.call('HGET', index, event) or '0-0')
  local letter = redis.call('XADD', letters, '*', 'type', found[2][2], 'id', event, 'event', field(found[2], 'event'),
    'subject', subject, 'attempts', string.match(receipt, '^%d+'), 'cause', cause)
  redis.call('HSET', index, event, letter)
  while redis.call('XLEN', letters) > most do
    local oldest = redis.call('XRANGE', letters, '-', '+', 'COUNT', 1)[1]
    redis.call('XDEL', letters, oldest[1])
    redis.call('HDEL', index, field(oldest[2], 'id'))
    redis.call('HINCRBY', of(queue, 'm'), 'dropped', 1)
  end
end

for number, id in ipairs(ids) do
  local at = 4 * number - 1
  local receipt, verdict, word = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if standing[id] ~= receipt then
    answer[number] = 0
  else
    answer[number], standing[id] = 1, nil
    if verdict == 'retry' then
      retry(id, receipt, word)
    else
      if verdict == 'dead' then
        bury(id, receipt, word)
      end
      ended[#ended + 1] = id
    end
  end
end
finish(queue, ended)
return answer
