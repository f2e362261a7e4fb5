-- ARGV: queue, consumer, credits, visibility in ms, wait in ms. Returns how long until something is due again (-1:
-- nothing is held), and of each delivery: id, attempt, life, envelope.
local queue, consumer, credits, visibility = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local pattern = redis.call('HGET', STEM .. 'q', queue)
if not pattern then
  return redis.error_reply('NOQUEUE it is not open')
end
local meta = redis.call('HMGET', of(queue, 'm'), 'ordered', 'life', 'cursor', 'fetched')
local ordered, life, cursor = meta[1] == '1', meta[2], meta[3]
local pending, delayed, held = of(queue, 'p'), of(queue, 'd'), of(queue, 'h')
local answer, receipts, ends = {0}, {}, {}
local taken, until_then = 0, whole(NOW + visibility)

local function deliver(id, attempt, fields)
  taken = taken + 1
  receipts[2 * taken - 1], receipts[2 * taken] = id, attempt .. ':' .. life
  ends[2 * taken - 1], ends[2 * taken] = until_then, id
  answer[4 * taken - 2] = id
  answer[4 * taken - 1] = attempt
  answer[4 * taken] = life
  answer[4 * taken + 1] = field(fields, 'event')
end

local function entry(id)
  local found = redis.call('XRANGE', STREAM, id, id)[1]
  return found and found[2]
end

-- What is due again, whoever had it.
local due = {}
for _, index in ipairs({pending, delayed}) do
  local found = redis.call('ZRANGEBYSCORE', index, '-inf', whole(NOW), 'WITHSCORES', 'LIMIT', 0, credits)
  for at = 1, #found, 2 do
    due[#due + 1] = {found[at], tonumber(found[at + 1])}
  end
end
table.sort(due, function(a, b)
  if a[2] ~= b[2] then
    return a[2] < b[2]
  end
  return is_after(b[1], a[1])
end)
if (#due > 0 or ordered) and redis.pcall('XPENDING', STREAM, queue).err then
  mend(queue)
end
for _, one in ipairs(due) do
  if taken == credits then
    break
  end
  local id, fields = one[1], entry(one[1])
  if fields then
    redis.call('ZREM', delayed, id)
    redis.call('XCLAIM', STREAM, queue, consumer, 0, id, 'FORCE', 'JUSTID')
    deliver(id, tonumber(string.match(redis.call('HGET', held, id), '^%d+')) + 1, fields)
  else
    finish(queue, {id})
  end
end

-- Those whose turn has come.
if ordered and taken < credits then
  for _, text in ipairs(redis.call('ZRANGE', of(queue, 'r'), 0, credits - taken - 1)) do
    local id = plain(text)
    local fields = entry(id)
    redis.call('ZREM', of(queue, 'r'), text)
    if fields then
      redis.call('XCLAIM', STREAM, queue, consumer, 0, id, 'FORCE', 'JUSTID')
      deliver(id, 1, fields)
    else
      finish(queue, {id})
    end
  end
end

-- What is new.
local function next_chunk(most)
  local read = redis.pcall('XREADGROUP', 'GROUP', queue, consumer, 'COUNT', most, 'STREAMS', STREAM, '>')
  if read and read.err then
    mend(queue)
    return redis.call('XREADGROUP', 'GROUP', queue, consumer, 'COUNT', most, 'STREAMS', STREAM, '>')
  end
  return read
end

local budget, more = 500, false
while taken < credits do
  if ordered and redis.call('ZCARD', of(queue, 'w')) >= 1000 then
    break
  end
  if budget <= 0 then
    more = true
    break
  end
  local read = next_chunk(math.min(credits - taken, 100))
  if not read then
    break
  end
  local ids = {}
  for number, new in ipairs(read[1][2]) do
    ids[number] = new[1]
  end
  local before = redis.call('HMGET', held, unpack(ids))
  for number, new in ipairs(read[1][2]) do
    local id, fields = new[1], new[2]
    budget, cursor = budget - 1, id
    local subject = ordered and field(fields, 'subject')
    if not takes(queue, pattern, fields) then
      redis.call('XACK', STREAM, queue, id)
    elseif before[number] then
      -- It is held: the queue was rewound.
    elseif not subject then
      deliver(id, 1, fields)
    else
      if redis.call('HEXISTS', of(queue, 'o'), subject) == 0 then
        redis.call('HSET', of(queue, 'o'), subject, id)
        redis.call('HSET', of(queue, 'os'), id, subject)
        deliver(id, 1, fields)
      else
        redis.call('ZADD', of(queue, 'w'), 0, redis.sha1hex(subject) .. padded(id))
      end
    end
  end
end
if taken > 0 then
  redis.call('HSET', held, unpack(receipts))
  redis.call('ZADD', pending, unpack(ends))
end
if cursor ~= meta[3] then
  redis.call('HSET', of(queue, 'm'), 'cursor', cursor)
end
if NOW - tonumber(meta[4]) > 60000 then
  redis.call('HSET', of(queue, 'm'), 'fetched', whole(NOW))
end
if taken > 0 or more then
  return answer
end
answer[1] = -1
for _, index in ipairs({pending, delayed}) do
  local first = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')[2]
  if first then
    local wait = math.max(1, tonumber(first) - NOW)
    answer[1] = answer[1] == -1 and wait or math.min(answer[1], wait)
  end
end
redis.call('SET', STEM .. 'w', '', 'PX', math.max(1, tonumber(ARGV[5])))
return answer
