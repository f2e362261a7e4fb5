-- Decides over several charges in one step: makes all of them or none.
--
-- KEYS: the state of each charge; one can come twice. ARGV: 'take' or 'peek', then for each key, packed: the most that
-- ever fits, the number of buckets (0: GCRA), their width (of GCRA: the time that earns one), the cost.
-- Answers five numbers for each key, packed: what is left; the wait (0: it fits, -1: it never will); the time until
-- all is free; mark and life for a refund.
--
-- Times are whole microseconds, below 2^53 as all numbers here. What is rounded is rounded toward refusal.
-- A window: its newest bucket, the sum of all counts, the count of the newest; then, oldest first, the buckets before
-- it that were charged, each by its last byte (there are fewer than 256) with its count. One that has left the window
-- is dropped by the next charge, so that a decision looks at few of them, however many there are. It never goes back
-- to an earlier bucket, so that a calendar that steps back reopens nothing.
-- GCRA: the theoretical arrival time, the latest time seen, by how much refunds moved the first, the beginning
-- of this state. With the calendar back the arrival time lies further ahead, which reopens nothing either.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- `before`: what the call has charged to this state so far, if it only looks.
local function window(key, capacity, buckets, width, before, cost, charges)
  local ring, newest = buckets + 1, math.floor(now / width)
  local raw = redis.call('GET', key)
  local known, total, count, oldest = newest, 0, 0, 17
  if raw then
    known, total, count = struct.unpack('<I8I4I4', raw)
    newest = math.max(known, newest)
    if newest - known > buckets then
      raw, total, count = false, 0, 0
    end
    while newest > known and raw and oldest < #raw do
      local low, spent = struct.unpack('<BI4', raw, oldest)
      if newest - known + (known - low) % 256 <= buckets then break end
      total, oldest = total - spent, oldest + 5
    end
  end

  local room, wanted, wait = capacity - total, before + cost, 0
  if cost > 0 and wanted > capacity then
    wait = -1
  elseif cost > 0 and wanted > room then
    local missing, leaves = wanted - room, known
    for at = oldest, #raw, 5 do
      local low, spent = struct.unpack('<BI4', raw, at)
      missing = missing - spent
      if missing <= 0 then
        leaves = known - (known - low) % 256
        break
      end
    end
    wait = (leaves + ring) * width - now
  end

  if charges and cost > 0 and wait == 0 then
    total = total + cost
    local ends = (newest + ring) * width
    if raw and newest == known then
      redis.call('SETRANGE', key, '8', struct.pack('<I4I4', total, count + cost))
    else
      local value = struct.pack('<I8I4I4', newest, total, cost)
      if raw then value = value .. string.sub(raw, oldest) .. struct.pack('<BI4', known % 256, count) end
      local rest = math.ceil((ends - now) / 1000) + 1
      redis.call('SET', key, value, 'PX', string.format('%.0f', rest))
    end
    return capacity - total, 0, ends - now, newest, 0
  end
  if total == 0 then return room, wait, 0, 0, 0 end
  -- After a refund the last ones can be empty.
  local last, at = known, #raw + 1
  while count == 0 do
    at = at - 5
    last, count = struct.unpack('<BI4', raw, at)
    last = known - (known - last) % 256
  end
  return room, wait, (last + ring) * width - now, 0, 0
end

local function gcra(key, capacity, width, before, cost, charges)
  local arrival, seen, moved, life = 0, now, 0, now
  local raw = redis.call('GET', key)
  if raw then
    arrival, seen, moved, life = struct.unpack('<I8I8I8I8', raw)
    seen = math.max(seen, now)
  end
  local ahead, wanted, wait = math.max(arrival - now, 0), before + cost, 0
  local room = math.floor(math.max(capacity * width - ahead, 0) / width)
  if cost > 0 and wanted > room then
    wait = wanted > capacity and -1 or ahead + (wanted - capacity) * width
  end
  if not charges or cost == 0 or wait ~= 0 then return room, wait, ahead, 0, 0 end
  arrival = now + ahead + width * cost
  local rest = math.ceil((arrival - now) / 1000) + 1
  local value = struct.pack('<I8I8I8I8', arrival, seen, moved, life)
  redis.call('SET', key, value, 'PX', string.format('%.0f', rest))
  return room - cost, 0, arrival - now, arrival + moved, life
end

-- Judges all, each as if those before it were charged; with `charges` that is what they are.
local function judge(charges)
  local answer, admitted, pending = '', true, {}
  for index, key in ipairs(KEYS) do
    local capacity, buckets, width, cost = struct.unpack('<I4I4I8I4', ARGV[index + 1])
    local before, left, wait, reset, mark, life = pending[key] or 0
    if buckets == 0 then
      left, wait, reset, mark, life = gcra(key, capacity, width, before, cost, charges)
    else
      left, wait, reset, mark, life = window(key, capacity, buckets, width, before, cost, charges)
    end
    if not charges then pending[key] = before + cost end
    admitted = admitted and wait == 0
    answer = answer .. struct.pack('<I4i8I8I8I8', left, wait, reset, mark, life)
  end
  return answer, admitted
end

-- One charge alone is made as it is judged.
local takes, alone = ARGV[1] == 'take', #KEYS == 1
local answer, admitted = judge(takes and alone)
if admitted and takes and not alone then answer = judge(true) end
return answer
