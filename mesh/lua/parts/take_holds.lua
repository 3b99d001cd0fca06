-- Holds are taken: all of a job's, or none.
local KEPT_MS = 86400000 -- an owner is forgotten so long after the last job that took something of it must have ended
local SPARE_MS = 3600000 -- or up to so much later: then not every job has to move the end

-- A window's sum in a later slice than its newest, and the slices that are too old by then: nil for all of them. Nothing when they cannot
-- be read.
local function slide(name, sum, at, slice)
  if slice - at > SLICES then return 0, nil end
  local passed, old = {}, {}
  for each = at - SLICES, slice - SLICES - 1 do passed[#passed + 1] = each end
  local taken = redis.pcall('HMGET', P .. 'window:' .. name, unpack(passed))
  if taken.err then return nil end
  for i, each in ipairs(passed) do
    if taken[i] then
      sum = sum - (tonumber(taken[i]) or 0)
      old[#old + 1] = each
    end
  end
  return sum, old
end

-- A window's newest slice is another one now: what was taken in the last joins the others, and what is too old is forgotten.
local function turn(window)
  local key = P .. 'window:' .. window.name
  if not window.old then return redis.call('DEL', key) end
  redis.call('HSET', key, window.at, window.own)
  if window.old[1] then redis.call('HDEL', key, unpack(window.old)) end
  redis.call('PEXPIRE', key, window.period * 2)
end

-- After how many ms the oldest slices of a window have given back so much. at, own: as the window has them.
local function wait_ms(name, at, own, slice, more, period, now)
  local all = {}
  for each = slice - SLICES, slice do all[#all + 1] = each end
  local taken = redis.pcall('HMGET', P .. 'window:' .. name, unpack(all))
  for i, each in ipairs(all) do
    more = more - (tonumber(each == at and own or taken[i] or '0') or 0)
    if more <= 0 then return math.max(1, math.ceil((each + SLICES + 1) * period / SLICES) - now) end
  end
  return period
end

-- A window as it is now: its sum, the slice and what is taken in that; where that slice is a new one, what there is to `turn`. Nothing when
-- it cannot be read.
local function look(counter, owner, value, period, now)
  local slice = slice_at(now, period)
  if not value then return 0, slice, 0 end
  local sum, at, own = read_window(value)
  if not at then return nil end
  if at >= slice then return sum, at, own end
  local name = name_of(counter, owner)
  local left, old = slide(name, sum, at, slice)
  return left, slice, 0, { name = name, at = at, own = own, old = old, period = period }
end

-- Take these holds. nil and what is taken now of each window, or why nothing is taken: {"held", hold name, amount now, ms to wait (0:
-- nobody knows; -1: it is more than the ceiling by itself)} | {"broken", hold name} its counter cannot be read.
-- left_ms: until their job must have ended.
local function take_holds(holds, now, left_ms)
  local written, windows, turns, begun = {}, {}, {}, {}
  local first = 1
  while holds[first] do
    local owner, after = holds[first + 2], first
    local key = P .. 'holds:' .. owner
    local ask, fields = { key, '.ends' }, { key }
    repeat
      ask[#ask + 1] = holds[after + 1]
      after = after + EACH
    until holds[after + 2] ~= owner
    local values = redis.pcall('HMGET', unpack(ask))
    if values.err then return { 'broken', name_of(ask[3], owner) } end
    local ends, read = now + left_ms + KEPT_MS, 1
    for i = first, after - 1, EACH do
      local kind, counter, wanted, ceiling, life = holds[i], holds[i + 1], holds[i + 3], holds[i + 4], holds[i + 6]
      read = read + 1
      local value = values[read]
      local sum, slice, own, turned
      if kind == 'window' then
        sum, slice, own, turned = look(counter, owner, value, life, now)
      else
        sum = tonumber(value or 0)
      end
      if not sum then return { 'broken', name_of(counter, owner) } end
      local total = sum + wanted
      if total > ceiling then
        local wait = wanted > ceiling and -1 or 0
        if slice and wait == 0 then
          local _, at, newest = read_window(value)
          wait = wait_ms(name_of(counter, owner), at, newest, slice, total - ceiling, life, now)
        end
        return { 'held', name_of(counter, owner), sum, wait }
      end
      if slice then
        turns[#turns + 1] = turned
        windows[#windows + 1] = total
        total = ('%d %d %d'):format(total, slice, own + wanted)
      elseif kind == 'spent' then
        ends = math.max(ends, now + life)
        if wanted > 0 and not value then begun[#begun + 1] = { key, counter, life, now } end
      end
      if slice or wanted > 0 then -- of what has no price nothing is written
        fields[#fields + 1] = counter
        fields[#fields + 1] = total
      end
    end
    if tonumber(values[1] or 0) < ends then
      fields.ends = ends + SPARE_MS
      fields[#fields + 1] = '.ends'
      fields[#fields + 1] = fields.ends
    end
    if fields[2] then written[#written + 1] = fields end
    first = after
  end
  for _, each in ipairs(begun) do begin_period(unpack(each)) end
  for _, fields in ipairs(written) do
    redis.call('HSET', unpack(fields))
    if fields.ends then redis.call('PEXPIREAT', fields[1], fields.ends) end
  end
  for _, window in ipairs(turns) do turn(window) end
  return nil, windows
end
