-- ARGV: most events of a queue, window in ms, then of each publish: how many events, and of each: type, id, subject,
-- envelope. Returns of each publish 1, or 0 if a queue has no room for it.
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
local queues, left, coming = redis.call('HGETALL', STEM .. 'q'), {}, {}
local counts = redis.call('HGETALL', STEM .. 'n')
for at = 1, #counts, 2 do
  left[counts[at]] = tonumber(counts[at + 1])
end

-- Which queues take events of a type.
local known = {}
local function takers(kind)
  if not known[kind] then
    known[kind] = {}
    for at = 1, #queues, 2 do
      if takes(queues[at], queues[at + 1], {'type', kind}) then
        table.insert(known[kind], queues[at])
      end
    end
  end
  return known[kind]
end

-- Which ids are known: those in the stream, and those of this batch.
local ids, seen = {}, {}
local at = 3
while at <= #ARGV do
  local last = at + 4 * tonumber(ARGV[at])
  for event = at + 1, last, 4 do
    ids[#ids + 1] = ARGV[event + 1]
  end
  at = last + 1
end
for _, generation in ipairs({young, old}) do
  if redis.call('EXISTS', generation) == 1 then
    for first, last in parts_of(ids) do
      for number, known in ipairs(redis.call('HMGET', generation, unpack(ids, first, last))) do
        if known then
          seen[ids[first + number - 1]] = true
        end
      end
    end
  end
end

local fresh = {}
local function publish(from, to)
  local new, more = {}, {}
  for at = from, to, 4 do
    if not seen[ARGV[at + 1]] then
      new[#new + 1] = at
      for _, queue in ipairs(takers(ARGV[at])) do
        more[queue] = (more[queue] or 0) + 1
      end
    end
  end
  for queue, count in pairs(more) do
    if (left[queue] or 0) + count > most then
      return 0
    end
  end
  for queue, count in pairs(more) do
    left[queue] = (left[queue] or 0) + count
    coming[queue] = (coming[queue] or 0) + count
  end
  for _, at in ipairs(new) do
    local id = ARGV[at + 1]
    seen[id] = true
    fresh[#fresh + 1], fresh[#fresh + 2] = id, ''
    if ARGV[at + 2] == '' then
      redis.call('XADD', STREAM, '*', 'type', ARGV[at], 'id', id, 'event', ARGV[at + 3])
    else
      redis.call('XADD', STREAM, '*', 'type', ARGV[at], 'id', id, 'event', ARGV[at + 3], 'subject', ARGV[at + 2])
    end
  end
  return 1
end

local answer = {}
at = 3
while at <= #ARGV do
  local last = at + 4 * tonumber(ARGV[at])
  answer[#answer + 1] = publish(at + 1, last)
  at = last + 1
end
if #fresh > 0 then
  for first, last in parts_of(fresh) do
    redis.call('HSET', young, unpack(fresh, first, last))
  end
  redis.call('PEXPIRE', young, 2 * window)
  for queue, count in pairs(coming) do
    redis.call('HINCRBY', STEM .. 'n', queue, count)
  end
  ring()
end
return answer
