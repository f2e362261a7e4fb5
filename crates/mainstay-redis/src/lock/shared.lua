-- What all verbs begin with. The holders of a key are one string, in the order of their fences. Times are microseconds
-- of this server's calendar, which is read once.
local HOLDER = '<I4ddddc32s'
local PERMITS, TTL, TILL, SINCE, FENCE, ATTEMPT, OWNER, NEXT = 1, 2, 3, 4, 5, 6, 7, 8

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- The digits of a number below 2^53, without a fraction. In two parts that are integers on every server: '%.0f' takes
-- a microsecond for what this does in a third of one.
local function whole(number)
  if number < 10000000 then
    return string.format('%d', number)
  end
  number = math.floor(number)
  local low = math.fmod(number, 10000000)
  return string.format('%d%07d', (number - low) / 10000000, low)
end

-- Those whose time is not over. No time left is longer than what was granted: if one is, the calendar was set back,
-- and what is returned second says that the holders have to be written again.
local function read(written)
  local holders, stepped, at = {}, false, 1
  while written and at <= #written do
    local holder = {struct.unpack(HOLDER, written, at)}
    at = holder[NEXT]
    if holder[TILL] > now + holder[TTL] then
      holder[TILL], stepped = now + holder[TTL], true
    end
    if holder[TILL] > now then
      holders[#holders + 1] = holder
    end
  end
  return holders, stepped
end

-- The key lives as long as the last of them.
local function write(key, holders)
  local lines, till = {}, 0
  for at, holder in ipairs(holders) do
    lines[at] = struct.pack(HOLDER, unpack(holder, PERMITS, OWNER))
    till = math.max(till, holder[TILL])
  end
  if till == 0 then
    redis.call('DEL', key)
  else
    redis.call('SET', key, table.concat(lines), 'PX', whole((till - now) / 1000 + 1))
  end
end
