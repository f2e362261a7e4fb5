-- Takes a charge back, as far as it still counts, where it was counted.
--
-- KEYS: its state. ARGV: the number of buckets (0: GCRA), their width (of GCRA: the time that earns one), then
-- cost, mark and life of the receipt. The state is that of decide.lua.

local raw = redis.call('GET', KEYS[1])
if not raw then return 0 end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local buckets, width, cost, mark, life =
  tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local value

if buckets == 0 then
  local arrival, seen, moved, born = struct.unpack('<I8I8I8I8', raw)
  if born ~= life then return 0 end
  seen = math.max(seen, now)
  -- Since a refund the arrival time is earlier, and so is the end of each charge before it.
  local earned = math.max(math.min(mark - moved, arrival) - seen, 0)
  -- What would make the sum of mark and time too large for a number is not given back.
  local back = math.min(width * cost, earned, 1e15 - moved)
  value = struct.pack('<I8I8I8I8', arrival - back, seen, moved + back, born)
else
  local ring = buckets + 1
  local form = '<I8' .. string.rep('I4', ring)
  local counts = { struct.unpack(form, raw) }
  local newest = math.max(counts[1], math.floor(now / width))
  if mark > counts[1] or mark < newest - buckets then return 0 end
  local place = mark % ring + 2
  counts[place] = counts[place] - math.min(cost, counts[place])
  value = struct.pack(form, unpack(counts, 1, ring + 1))
end

redis.call('SET', KEYS[1], value, 'KEEPTTL')
return 1
