-- Takes a charge back, as far as it still counts, where it was counted.
--
-- KEYS: its state. ARGV: the number of buckets (0: GCRA), their width (of GCRA: the time that earns one), then
-- cost, mark and life of the receipt. The state is that of decide.lua.

local raw = redis.call('GET', KEYS[1])
if not raw then return 0 end

local buckets, width, cost, mark, life =
  tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

-- Writes over a part of the state, which lives no longer for it.
local function put(at, part)
  redis.call('SETRANGE', KEYS[1], string.format('%.0f', at), part)
end

if buckets == 0 then
  local arrival, seen, moved, born = struct.unpack('<I8I8I8I8', raw)
  if born ~= life then return 0 end
  local time = redis.call('TIME')
  seen = math.max(seen, time[1] * 1000000 + time[2])
  -- Since a refund the arrival time is earlier, and so is the end of each charge before it.
  local earned = math.max(math.min(mark - moved, arrival) - seen, 0)
  -- What would make the sum of mark and time too large for a number is not given back.
  local back = math.min(width * cost, earned, 1e15 - moved)
  put(0, struct.pack('<I8I8I8', arrival - back, seen, moved + back))
  return 1
end

local known, total, count = struct.unpack('<I8I4I4', raw)
-- What has left the window but not yet the state can be given back or not: its next charge drops it.
if mark > known or mark < known - buckets then return 0 end
if mark == known then
  local back = math.min(cost, count)
  put(8, struct.pack('<I4I4', total - back, count - back))
  return 1
end
for at = 17, #raw, 5 do
  local low, spent = struct.unpack('<BI4', raw, at)
  if low == mark % 256 then
    local back = math.min(cost, spent)
    put(at, struct.pack('<I4', spent - back))
    put(8, struct.pack('<I4', total - back))
    return 1
  end
end
return 0
