-- One process asks for what its requests cost. All processes of an address see one bucket.
-- KEYS: the bucket, the tenants' tags, whether the exchange is shut, and who waits, by urgency 1 to 3
-- ARGV: rate, burst, share of the background, seconds for which who asked counts as waiting, ahead, given back,
--       room (what the exchange says is left; empty: not told), seconds for which only exits may go, floors 0 to 3,
--       seconds for which who asked isn't forgotten; then of each request: urgency, tenant, cost
-- Answers {milliseconds shut, banned, given ahead, granted or not of each request}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local rate, burst, share = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local patience, ahead, given_back = ARGV[4] * 1000000, tonumber(ARGV[5]), tonumber(ARGV[6])
local room, exits_only = tonumber(ARGV[7]), tonumber(ARGV[8])
local floors = {[0] = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])}
local memory = ARGV[13] * 1000000
local FIRST = 14
local count = (#ARGV - FIRST + 1) / 3

local shut = redis.call('PTTL', KEYS[3])
local answer = {math.max(shut, 0), tonumber(redis.call('GET', KEYS[3]) or '0'), 0}

local state = redis.call('HMGET', KEYS[1], 'tokens', 'background', 'at', 'virtual', 'exits_until')
local passed = math.max(now - tonumber(state[3] or now), 0) / 1000000
-- An emptied Redis doesn't know what was spent: it begins with half.
local tokens = math.min(burst, tonumber(state[1] or burst / 2) + rate * passed + given_back)
local background = math.min(burst * share, tonumber(state[2] or burst * share / 2) + rate * share * passed)
local virtual, exits_until = tonumber(state[4] or 0), tonumber(state[5] or 0)
if room then tokens = math.min(tokens, room) end
if exits_only > 0 then exits_until = math.max(exits_until, now + exits_only * 1000000) end

local function tag_of(tenant)
  return math.max(tonumber(redis.call('ZSCORE', KEYS[2], tenant) or 0), virtual)
end

-- Who has had least comes first, wherever they wait. A tag is what a tenant has had, at least what the one has had who
-- wants anything, of whatever urgency, and has had least of all: who was away has nothing saved up, and who waits for
-- one thing keeps what the others owe while they are served with another, or while its process stands still for a
-- moment. Who is a small quantum ahead lets them by.
local least_wanting = math.huge
for urgency = 1, 3 do
  redis.call('ZREMRANGEBYSCORE', KEYS[3 + urgency], '-inf', now - memory)
  for _, tenant in ipairs(redis.call('ZRANGE', KEYS[3 + urgency], 0, -1)) do
    least_wanting = math.min(least_wanting, tag_of(tenant))
  end
end
for i = 1, count do
  local at = FIRST + 3 * (i - 1)
  if tonumber(ARGV[at]) > 0 then least_wanting = math.min(least_wanting, tag_of(ARGV[at + 1])) end
end
if least_wanting < math.huge then virtual = math.max(virtual, least_wanting) end

local refused = false
local function serve(urgency, waiting)
  local mine, tags, pending = {}, {}, {}
  for i = 1, count do
    local at = FIRST + 3 * (i - 1)
    if tonumber(ARGV[at]) == urgency then
      local tenant = ARGV[at + 1]
      if not mine[tenant] then mine[tenant], tags[tenant] = {}, tag_of(tenant) end
      table.insert(mine[tenant], i)
    end
  end
  if next(mine) == nil then return end
  local others = math.huge
  if waiting then
    for _, tenant in ipairs(redis.call('ZRANGEBYSCORE', waiting, now - patience, '+inf')) do
      if not mine[tenant] then others = math.min(others, tag_of(tenant)) end
    end
  end
  while next(mine) ~= nil do
    local least
    for tenant in pairs(mine) do
      if not least or tags[tenant] < tags[least] or (tags[tenant] == tags[least] and tenant < least) then
        least = tenant
      end
    end
    local i = mine[least][1]
    local cost = tonumber(ARGV[FIRST + 3 * (i - 1) + 2])
    local fits = tokens >= math.min(floors[urgency] + cost, burst)
    if urgency == 3 then fits = fits and background >= math.min(cost, burst * share) end
    if urgency > 0 and (exits_until > now or tags[least] > others + rate * 0.03) then fits = false end
    if shut > 0 or not fits then break end
    tokens = tokens - cost
    if urgency == 3 then background = background - cost end
    tags[least] = tags[least] + cost
    redis.call('ZADD', KEYS[2], string.format('%.3f', tags[least]), least)
    answer[3 + i] = 1
    table.remove(mine[least], 1)
    if #mine[least] == 0 then
      mine[least] = nil
      -- Who was waiting will be back in a moment with the next request, and isn't forgotten until then.
      if waiting then redis.call('ZADD', waiting, 'XX', string.format('%.0f', now - patience + 100000), least) end
    end
  end
  for tenant in pairs(mine) do
    refused = true
    if waiting then redis.call('ZADD', waiting, string.format('%.0f', now), tenant) end
  end
end

for i = 1, count do answer[3 + i] = 0 end
serve(0, nil)
for urgency = 1, 3 do serve(urgency, KEYS[3 + urgency]) end
if not refused and shut <= 0 and exits_until <= now and ahead > 0 and tokens - ahead >= burst * 0.7 then
  tokens = tokens - ahead
  answer[3] = ahead
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.3f', tokens), 'background', string.format('%.3f', background),
  'at', string.format('%.0f', now), 'virtual', string.format('%.3f', virtual),
  'exits_until', string.format('%.0f', exits_until))
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', virtual)
for i, key in ipairs(KEYS) do if i ~= 3 then redis.call('PEXPIRE', key, 300000) end end
return answer
