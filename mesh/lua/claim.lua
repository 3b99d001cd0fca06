#!lua flags=allow-oom
-- claim(boot, call number, free slots, lease ms, max attempts, turn, {lane, private 0|1} interactive …, "|", {lane, private} batch …)
-- Pop messages and lease their jobs in one step. The interactive lanes come first, but of every 20 jobs one is a batch job where
-- there is any. A number brings jobs once: repeated, it is answered with the same, and a lower one with none. With no free slots it
-- only sees to it that its number brings none. A message whose job is not waiting is dropped.
-- KEYS  <lane> list · waiting:<lane> · running:<lane> zset (score = end of the lease) · job:<id> · claimed:<boot> · pace:<lane>
-- Reply {turn, row …}; row = {id, fence, attempt, seq, left ms, waited ms, lane, tenant, spec, request, large, stop, private, key,
-- reserved}
-- include base
-- include message
-- include log
-- include tell
-- include job
-- include holds
-- include end_holds
-- include close
-- include lease
local boot, call, free, lease_ms, max_attempts, turn =
  ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local now = now_ms()
local memory = P .. 'claimed:' .. boot
local last = redis.call('GET', memory)
local latest = last and tonumber(last:match('^%S+')) or -1
local reply = { turn }
if latest > tonumber(call) then return reply end
if latest == tonumber(call) then
  reply[1] = tonumber(last:match('^%S+ (%d+)'))
  for id in last:match('^%S+ %d+(.*)$'):gmatch('%S+') do
    local held = redis.call('HMGET', P .. 'job:' .. id, 'state', 'owner')
    if held[1] == 'running' and held[2] == boot then
      local again = row(id, now)
      redis.call('ZADD', P .. 'running:' .. again[7], now + lease_ms, id)
      reply[#reply + 1] = again
    end
  end
  return reply
end

local ids = {}
local looked = 0
local function drain(lane, private, most)
  local taken = 0
  local moved, leases = {}, {}
  while taken < most and looked < 2000 do
    local messages = redis.call('RPOP', P .. lane, most - taken)
    if not messages then break end
    local all = #messages < most - taken
    for _, message in ipairs(messages) do
      looked = looked + 1
      local id = read_message(message)
      local claimed = id and lease(id, boot, max_attempts, lane, private, now)
      if claimed then
        taken = taken + 1
        ids[#ids + 1] = id
        reply[#reply + 1] = claimed
        moved[taken] = id
        leases[taken * 2 - 1], leases[taken * 2] = now + lease_ms, id
      end
    end
    if all then break end
  end
  if taken > 0 then
    redis.call('ZREM', P .. 'waiting:' .. lane, unpack(moved))
    redis.call('ZADD', P .. 'running:' .. lane, unpack(leases))
    -- The pace of a lane is the time between two jobs leaving it while others wait: position × gap is the wait.
    local pace = redis.call('GET', P .. 'pace:' .. lane) or ''
    local gap, at, backlog = pace:match('^(%S+) (%d+) (%d)$')
    gap = tonumber(gap)
    if backlog == '1' then
      local seen = (now - at) / taken
      gap = gap and gap * 0.8 + seen * 0.2 or seen
    end
    redis.call('SET', P .. 'pace:' .. lane, (gap or '-') .. ' ' .. now .. ' ' .. redis.call('EXISTS', P .. lane))
  end
  return taken
end

local interactive, batch, into = {}, {}, nil
into = interactive
local i = 7
while i <= #ARGV do
  if ARGV[i] == '|' then
    into = batch
    i = i + 1
  else
    into[#into + 1] = { ARGV[i], ARGV[i + 1] }
    i = i + 2
  end
end

local left = free
local share = math.min(left, math.floor((turn + free) / 20))
for _, lane in ipairs(batch) do
  if share > 0 then
    local taken = drain(lane[1], lane[2], share)
    share, left = share - taken, left - taken
  end
end
for _, lanes in ipairs({ interactive, batch }) do
  for _, lane in ipairs(lanes) do
    if left > 0 then left = left - drain(lane[1], lane[2], left) end
  end
end
reply[1] = (turn + #ids) % 20
if #ids > 0 or free == 0 then
  redis.call('SET', memory, call .. ' ' .. reply[1] .. ' ' .. table.concat(ids, ' '), 'PX', 3600000)
end
return reply
