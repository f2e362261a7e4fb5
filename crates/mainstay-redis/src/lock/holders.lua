-- KEYS holders   ARGV most that are shown
local shown = {}
for _, holder in ipairs(read(redis.call('GET', KEYS[1]))) do
  if #shown == tonumber(ARGV[1]) then
    break
  end
  shown[#shown + 1] = {
    string.sub(holder[ATTEMPT], 1, 8), whole(holder[FENCE]), holder[PERMITS],
    whole(math.max(0, now - holder[SINCE])), whole(holder[TILL] - now), holder[OWNER],
  }
end
return shown
