-- KEYS holders   ARGV most that are shown
local shown = {}
for _, holder in ipairs(read(redis.call('GET', KEYS[1]))) do
  if #shown == tonumber(ARGV[1]) then
    break
  end
  shown[#shown + 1] = {
    string.sub(holder.attempt, 1, 8), holder.fence, holder.permits,
    whole(math.max(0, now - holder.since)), whole(holder.till - now), holder.owner,
  }
end
return shown
