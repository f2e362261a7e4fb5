-- Decides over several charges in one step: makes all of them or none.
--
-- KEYS: the state of each charge; one can come twice. ARGV: 'take' or 'peek', then for each key the most that
-- ever fits, the number of buckets (0: GCRA), their width (of GCRA: the time that earns one), the cost.
-- Answers five numbers for each key: what is left; the wait (0: it fits, -1: it never will); the time until all
-- is free; mark and life for a refund.
--
-- Times are whole microseconds, below 2^53 as all numbers here. What is rounded is rounded toward refusal.
-- A window: its newest bucket, then the counts of k + 1 buckets as a ring. It never goes back to an earlier
-- bucket, so that a calendar that steps back reopens nothing.
-- GCRA: the theoretical arrival time, the latest time seen, by how much refunds moved the first, the beginning
-- of this state. With the calendar back the arrival time lies further ahead, which reopens nothing either.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function open(key, capacity, buckets, width)
  local state = { key = key, capacity = capacity, buckets = buckets, width = width, pending = 0 }
  local raw = redis.call('GET', key)
  if buckets == 0 then
    state.form = '<I8I8I8I8'
    state.time, state.seen, state.moved, state.life = 0, now, 0, now
    if raw then
      state.time, state.seen, state.moved, state.life = struct.unpack(state.form, raw)
      state.seen = math.max(state.seen, now)
    end
    return state
  end
  local bucket, ring = math.floor(now / width), buckets + 1
  state.form = '<I8' .. string.rep('I4', ring)
  local known = raw and { struct.unpack(state.form, raw) } or { bucket }
  local newest = math.max(known[1], bucket)
  local counts, total = { newest }, 0
  state.empty = now
  for at = newest - buckets, newest do
    local place = at % ring + 2
    local count = at <= known[1] and known[place] or 0
    counts[place] = count
    if count > 0 then
      total = total + count
      state.empty = (at + ring) * width
    end
  end
  state.counts, state.total = counts, total
  return state
end

local function left(state)
  if state.counts then return state.capacity - state.total end
  local ahead = math.max(state.time - now, 0)
  return math.floor(math.max(state.capacity * state.width - ahead, 0) / state.width)
end

-- How long until `wanted`, which is more than is left and at most the capacity, fits.
local function wait(state, wanted)
  if state.buckets == 0 then
    return math.max(state.time, now) + (wanted - state.capacity) * state.width - now
  end
  local missing, at, ring = wanted - left(state), state.counts[1] - state.buckets, state.buckets + 1
  while missing > state.counts[at % ring + 2] do
    missing = missing - state.counts[at % ring + 2]
    at = at + 1
  end
  return (at + ring) * state.width - now
end

local function charge(state, cost)
  local mark, value
  if state.counts then
    local newest, ring = state.counts[1], state.buckets + 1
    local place = newest % ring + 2
    state.counts[place] = state.counts[place] + cost
    state.total = state.total + cost
    state.empty = (newest + ring) * state.width
    mark, value = newest, struct.pack(state.form, unpack(state.counts))
  else
    state.time = math.max(state.time, now) + state.width * cost
    mark, value = state.time + state.moved, struct.pack(state.form, state.time, state.seen, state.moved, state.life)
  end
  local rest = math.ceil(((state.empty or state.time) - now) / 1000) + 1
  redis.call('SET', state.key, value, 'PX', string.format('%.0f', rest))
  return mark
end

local states, answer, admitted = {}, {}, true

for index, key in ipairs(KEYS) do
  local at = index * 4
  local cost = tonumber(ARGV[at + 1])
  local state = states[key]
  if not state then
    state = open(key, tonumber(ARGV[at - 2]), tonumber(ARGV[at - 1]), tonumber(ARGV[at]))
    states[key] = state
  end
  local room, delay = left(state), 0
  local wanted = state.pending + cost
  if cost > 0 and wanted > room then
    admitted = false
    delay = wanted > state.capacity and -1 or wait(state, wanted)
  end
  state.pending = wanted
  local base = index * 5
  answer[base - 4], answer[base - 3] = room, delay
  answer[base - 2] = math.max((state.empty or state.time) - now, 0)
  answer[base - 1], answer[base] = 0, 0
end

if admitted and ARGV[1] == 'take' then
  for index, key in ipairs(KEYS) do
    local state, base, cost = states[key], index * 5, tonumber(ARGV[index * 4 + 1])
    if cost > 0 then
      answer[base - 1], answer[base] = charge(state, cost), state.life or 0
    end
    answer[base - 4] = left(state)
    answer[base - 2] = math.max((state.empty or state.time) - now, 0)
  end
end

return answer
