-- What all verbs begin with. `KEYS[1]` is the stream of a topic; every other key of the topic lies beside it, in its slot.
-- Times are milliseconds of this server's calendar, which is read once.
--   q            queue -> pattern          n            queue -> events neither done nor dead
--   m:<queue>    ordered, life, cursor, fetched, dropped
--   p:<queue>    pending ids by the end of their receipt      d:<queue>  delayed ids by their time
--   h:<queue>    held id -> attempt:life, which is the receipt, and attempt: alone while it is delayed
--   x:<queue>    dead letters              xi:<queue>   event -> its dead letter
--   c:<queue>    entries that are for it alone, because they were redriven: they go when it has finished them
-- and of an ordered queue, with ids written so that they sort:
--   o:<queue>    subject -> the id whose turn it is           os:<queue> that id -> subject
--   w:<queue>    digest of the subject and id of those behind it      r:<queue>  ids whose turn has come
local STREAM = KEYS[1]
local STEM = string.sub(STREAM, 1, -2)
local time = redis.call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

local function whole(number)
  return string.format('%.0f', number)
end

local function of(queue, what)
  return STEM .. what .. ':' .. queue
end

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

-- An id that sorts as text.
local function padded(id)
  local ms, seq = parts(id)
  return string.format('%020.0f%020.0f', ms, seq)
end

local function plain(text)
  return whole(tonumber(string.sub(text, 1, 20))) .. '-' .. whole(tonumber(string.sub(text, 21, 40)))
end

local function is_after(a, b)
  return padded(a) > padded(b)
end

local function after(id)
  local ms, seq = parts(id)
  return whole(ms) .. '-' .. whole(seq + 1)
end

-- The newest id there ever was.
local function last_id()
  if redis.call('EXISTS', STREAM) == 0 then
    return '0-0'
  end
  local info = redis.call('XINFO', 'STREAM', STREAM)
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' then
      return info[at + 1]
    end
  end
  return '0-0'
end

-- Whether a queue takes an event: by its type, which is the first field, unless it is for one queue alone.
local function takes(queue, pattern, fields)
  for at = 1, #fields, 2 do
    if fields[at] == 'q' and fields[at + 1] ~= queue then
      return false
    end
  end
  if string.sub(pattern, -1) == '*' then
    return string.sub(fields[2], 1, #pattern - 1) == string.sub(pattern, 1, -2)
  end
  return fields[2] == pattern
end

local function field(fields, name)
  for at = 1, #fields, 2 do
    if fields[at] == name then
      return fields[at + 1]
    end
  end
end

-- Where the parts of a long list begin and end: Lua cannot call with all of it.
local function parts_of(list)
  local first = -1999
  return function()
    first = first + 2000
    if first <= #list then
      return first, math.min(first + 1999, #list)
    end
  end
end

-- Wakes those who found nothing.
local function ring()
  if redis.call('DEL', STEM .. 'w') == 1 then
    redis.call('PUBLISH', STEM .. 'b', '')
  end
end

-- Makes the group of an open queue, which somebody destroyed, as it was.
local function mend(queue)
  local cursor, last = redis.call('HGET', of(queue, 'm'), 'cursor'), last_id()
  if is_after(cursor, last) then
    cursor = last
    redis.call('HSET', of(queue, 'm'), 'cursor', cursor)
  end
  redis.call('XGROUP', 'CREATE', STREAM, queue, cursor, 'MKSTREAM')
  for _, id in ipairs(redis.call('HKEYS', of(queue, 'h'))) do
    redis.call('XCLAIM', STREAM, queue, 'mended', 0, id, 'FORCE', 'JUSTID')
  end
  for _, text in ipairs(redis.call('ZRANGE', of(queue, 'r'), 0, -1)) do
    redis.call('XCLAIM', STREAM, queue, 'mended', 0, plain(text), 'FORCE', 'JUSTID')
  end
  for _, text in ipairs(redis.call('ZRANGE', of(queue, 'w'), 0, -1)) do
    redis.call('XCLAIM', STREAM, queue, 'mended', 0, plain(string.sub(text, -40)), 'FORCE', 'JUSTID')
  end
end

-- The next of its subject may go.
local function pass_on(queue, id)
  local subject = redis.call('HGET', of(queue, 'os'), id)
  if not subject then
    return
  end
  redis.call('HDEL', of(queue, 'os'), id)
  redis.call('HDEL', of(queue, 'o'), subject)
  local behind = of(queue, 'w')
  local digest = redis.sha1hex(subject)
  local next = redis.call('ZRANGEBYLEX', behind, '[' .. digest, '[' .. digest .. ':', 'LIMIT', 0, 1)[1]
  if next then
    local text = string.sub(next, -40)
    redis.call('ZREM', behind, next)
    redis.call('ZADD', of(queue, 'r'), 0, text)
    redis.call('HSET', of(queue, 'o'), subject, plain(text))
    redis.call('HSET', of(queue, 'os'), plain(text), subject)
    ring()
  end
end

-- Removes a queue with everything in it.
local function remove(queue)
  redis.pcall('XGROUP', 'DESTROY', STREAM, queue)
  redis.call('HDEL', STEM .. 'q', queue)
  redis.call('HDEL', STEM .. 'n', queue)
  for _, id in ipairs(redis.call('SMEMBERS', of(queue, 'c'))) do
    redis.call('XDEL', STREAM, id)
  end
  for _, what in ipairs({'m', 'p', 'd', 'h', 'x', 'xi', 'c', 'o', 'os', 'w', 'r'}) do
    redis.call('UNLINK', of(queue, what))
  end
end

-- These events are neither pending nor delayed any more.
local function finish(queue, ids)
  if #ids == 0 then
    return
  end
  redis.call('XACK', STREAM, queue, unpack(ids))
  redis.call('ZREM', of(queue, 'p'), unpack(ids))
  redis.call('ZREM', of(queue, 'd'), unpack(ids))
  redis.call('HDEL', of(queue, 'h'), unpack(ids))
  redis.call('HINCRBY', STEM .. 'n', queue, -#ids)
  if redis.call('EXISTS', of(queue, 'c')) == 1 then
    for _, id in ipairs(ids) do
      if redis.call('SREM', of(queue, 'c'), id) == 1 then
        redis.call('XDEL', STREAM, id)
      end
    end
  end
  if redis.call('EXISTS', of(queue, 'os')) == 1 then
    for _, id in ipairs(ids) do
      pass_on(queue, id)
    end
  end
end

-- How many events in (from, to] the queue takes and has not already.
local function count(queue, pattern, from, to)
  local total, at = 0, from
  while is_after(to, at) do
    local entries = redis.call('XRANGE', STREAM, after(at), to, 'COUNT', 500)
    if #entries == 0 then
      break
    end
    for _, entry in ipairs(entries) do
      at = entry[1]
      if takes(queue, pattern, entry[2]) and redis.call('HEXISTS', of(queue, 'h'), at) == 0
        and not redis.call('ZSCORE', of(queue, 'r'), padded(at)) then
        local subject = field(entry[2], 'subject')
        if not (subject and redis.call('ZSCORE', of(queue, 'w'), redis.sha1hex(subject) .. padded(at))) then
          total = total + 1
        end
      end
    end
  end
  return total
end
