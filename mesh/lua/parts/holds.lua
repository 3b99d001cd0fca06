-- Holds: what a job takes of counters. What they count is not known here. A job tells them as one flat JSON array, an owner's together:
--   kind, counter, owner, amount, ceiling, unit or "-", life ms, …
-- An owner's counters are fields of one hash, holds:<owner>:
-- open    a number; given back when the job ends
-- spent   a number that counts a period, which its name tells; it may go after its life, and goes when the next one begins
-- window  <sum> <slice> <own>: what was taken within its life, the newest of its slices, and what was taken in that. The other slices are
--         fields of the hash window:<counter>:<owner>. A window forgets whole slices, of which its life has 120: in no period is more
--         taken than the ceiling allows, and a place is free again after the period and one slice at the latest.
-- Beside them lie .ends, when the hash goes, and .periods, what is `spent` and when that may go.
-- At the job's end what is open is given back and the others are settled: what the job has measured of the unit takes the place of what it
-- took; without a unit it stays as it was taken. Of what a job takes later than it was made, its amount is "<amount>@<when, ms>".
local SLICES = 120
local KEPT_MS = 86400000 -- an owner is forgotten so long after the last job that took something of it must have ended
local SPARE_MS = 3600000 -- or up to so much later: then not every job has to move the end
local EACH = 7

local function read_holds(told) return told and told ~= '' and cjson.decode(told) or {} end

local function name_of(counter, owner) return owner == '' and counter or counter .. ':' .. owner end

local function slice_at(now, period) return math.floor(now * SLICES / period) end

-- A window's sum, its newest slice and what was taken in that; nil when it is none.
local function read_window(value)
  local sum, at, own = value:match('^(%d+) (%d+) (%d+)$')
  return tonumber(sum), tonumber(at), own
end

-- Its sum in `slice`, later than its newest, without what is too old by then, and which slices that are: {} all. nil when they cannot be
-- read.
local function slide(name, sum, at, slice)
  if slice - at > SLICES then return 0, {} end
  local old = {}
  for each = at - SLICES, slice - SLICES - 1 do old[#old + 1] = each end
  local taken = redis.pcall('HMGET', P .. 'window:' .. name, unpack(old))
  if taken.err then return nil end
  for i = 1, #old do sum = sum - (tonumber(taken[i] or '0') or 0) end
  return sum, old
end

-- A window's newest slice is another one now: what was taken in the last joins the others, and what is too old is forgotten.
local function turn(name, at, own, old, period)
  local key = P .. 'window:' .. name
  if #old == 0 then return redis.call('DEL', key) end
  redis.call('HSET', key, at, own)
  redis.call('HDEL', key, unpack(old))
  redis.call('PEXPIRE', key, period * 2)
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

-- A counter of a period begins: it is noted when it may go, and those go whose time is over.
local function begin_period(key, counter, life_ms, now)
  local kept = {}
  for other, ends in pairs(cjson.decode(redis.call('HGET', key, '.periods') or '{}')) do
    if ends > now then
      kept[other] = ends
    elseif other ~= counter then
      redis.call('HDEL', key, other)
    end
  end
  kept[counter] = now + life_ms
  redis.call('HSET', key, '.periods', cjson.encode(kept))
end

-- Take all of these holds, or none and tell why: {"held", hold name, amount now, ms to wait (0: nobody knows; -1: it is more than the
-- ceiling by itself)} | {"broken", hold name} its counter cannot be read. Else nil, and what is taken now of each window.
-- left_ms: until their job must have ended.
local function take_holds(holds, now, left_ms)
  local owners, windows, turns, begun = {}, {}, {}, {}
  local first = 1
  while holds[first] do
    local owner = holds[first + 2]
    local key = P .. 'holds:' .. owner
    local ask, next = { key, '.ends' }, first
    repeat
      ask[#ask + 1] = holds[next + 1]
      next = next + EACH
    until holds[next + 2] ~= owner
    local values = redis.pcall('HMGET', unpack(ask))
    if values.err then return { 'broken', name_of(ask[3], owner) } end
    local fields, ends = { key }, now + left_ms + KEPT_MS
    for i = first, next - 1, EACH do
      local kind, counter, wanted, ceiling, life = holds[i], holds[i + 1], holds[i + 3], holds[i + 4], holds[i + 6]
      local value = values[(i - first) / EACH + 2]
      local sum, slice, at, own, old
      if kind ~= 'window' then
        sum = tonumber(value or 0)
      else
        slice = slice_at(now, life)
        sum, own = 0, 0
        if value then sum, at, own = read_window(value) end
        if at and at < slice then
          sum, old = slide(name_of(counter, owner), sum, at, slice)
        elseif at then
          slice = at
        end
      end
      if not sum then return { 'broken', name_of(counter, owner) } end
      local total = sum + wanted
      if total > ceiling then
        local wait = wanted > ceiling and -1 or 0
        if slice and wait == 0 then wait = wait_ms(name_of(counter, owner), at, own, slice, total - ceiling, life, now) end
        return { 'held', name_of(counter, owner), sum, wait }
      end
      if slice then
        if old then turns[#turns + 1] = { name_of(counter, owner), at, own, old, life } end
        windows[#windows + 1] = total
        fields[#fields + 1] = counter
        fields[#fields + 1] = ('%d %d %d'):format(total, slice, old and wanted or own + wanted)
      else
        if wanted > 0 then -- of what has no price nothing is written
          fields[#fields + 1] = counter
          fields[#fields + 1] = total
        end
        if kind == 'spent' then
          if wanted > 0 and not value then begun[#begun + 1] = { key, counter, life, now } end
          if now + life > ends then ends = now + life end
        end
      end
    end
    if tonumber(values[1] or 0) < ends then
      fields[#fields + 1] = '.ends'
      fields[#fields + 1] = ends + SPARE_MS
      fields.ends = ends + SPARE_MS
    end
    if #fields > 1 then owners[#owners + 1] = fields end
    first = next
  end
  for _, each in ipairs(begun) do begin_period(unpack(each)) end
  for _, fields in ipairs(owners) do
    redis.call('HSET', unpack(fields))
    if fields.ends then redis.call('PEXPIREAT', fields[1], fields.ends) end
  end
  for _, each in ipairs(turns) do turn(unpack(each)) end
  return nil, windows
end

-- What is taken of a counter now; nothing is changed. nil: it cannot be read.
local function taken_of(kind, name, life_ms, now)
  local counter, owner = name:match('^([^:]+):?(.*)$')
  local value = redis.pcall('HGET', P .. 'holds:' .. owner, counter)
  if not value then return 0 end
  if type(value) ~= 'string' then return nil end
  if kind ~= 'window' then return tonumber(value) end
  local sum, at = read_window(value)
  local slice = slice_at(now, life_ms)
  if at and at < slice then return (slide(name, sum, at, slice)) end
  return sum
end

-- What these attempts have measured by unit, and of how many nobody knows: of one target's, or of all.
local function measured_by(attempts, provider, model)
  local sums, lost = {}, 0
  if not (attempts:find('"measured"', 1, true) or attempts:find('"unknown"', 1, true)) then return sums, lost end
  for _, record in ipairs(cjson.decode('[' .. attempts .. ']')) do
    if not provider or (record.provider == provider and record.model == model) then
      if record.outcome == 'unknown' then lost = lost + 1 end
      for unit, amount in pairs(record.measured or {}) do sums[unit] = (sums[unit] or 0) + amount end
    end
  end
  return sums, lost
end

-- Parts a job's holds: those of these names, and the others.
local function part_holds(holds, names)
  local named, others = {}, {}
  for i = 1, #holds, EACH do
    local into = names[name_of(holds[i + 1], holds[i + 2])] and named or others
    for each = i, i + EACH - 1 do into[#into + 1] = holds[each] end
  end
  return named, others
end

-- Holds as a job keeps them. now: when they were taken, where that was later than the job was made.
local function write_holds(holds, now)
  local told = {}
  for i, each in ipairs(holds) do
    if now and i % EACH == 4 then each = ('%d@%d'):format(each, now) end
    told[i] = type(each) == 'number' and ('%d'):format(each) or cjson.encode(each)
  end
  return told
end

-- Those that a job has and those that it takes now, as it keeps them.
local function join_holds(had, taken, now)
  local told = write_holds(had)
  for _, each in ipairs(write_holds(taken, now)) do told[#told + 1] = each end
  return '[' .. table.concat(told, ',') .. ']'
end

-- A window's value once so much more, or less, was taken of it in `slice`; nil when that has been forgotten.
local function settled(name, value, slice, by, newest)
  local sum, at, own = read_window(value)
  if not sum or at - slice > SLICES or newest - slice > SLICES then return nil end
  if slice < at then
    redis.pcall('HINCRBY', P .. 'window:' .. name, slice, by)
  else
    own = math.max(0, own + by)
  end
  return ('%d %d %d'):format(math.max(0, sum + by), at, own)
end

-- End holds; what cannot be read is left. since: when the job was made. measured: by unit, what the job has really taken. lost: attempts
-- of which nobody knows what they took: each counts as all that was held. undo: as if nothing had ever been taken.
local function end_holds(holds, since, now, measured, lost, undo)
  local first = 1
  while holds[first] do
    local owner = holds[first + 2]
    local ask, changes, next = { P .. 'holds:' .. owner }, {}, first
    repeat
      local kind, took, unit, at = holds[next], holds[next + 3], holds[next + 5], since
      if type(took) == 'string' then
        took, at = took:match('^(%d+)@(%d+)$')
        took, at = tonumber(took), tonumber(at)
      end
      local by = 0
      if undo or kind == 'open' then
        by = -took
      elseif unit ~= '-' then
        by = (measured[unit] or 0) + (lost - 1) * took
      end
      if by ~= 0 then
        ask[#ask + 1] = holds[next + 1]
        changes[#changes + 1] = { kind, by, took, at, holds[next + 6] }
      end
      next = next + EACH
    until holds[next + 2] ~= owner
    if #changes > 0 then
      local values = redis.pcall('HMGET', unpack(ask))
      local fields = { ask[1] }
      for i, change in ipairs(changes) do
        local kind, by, took, at, life = unpack(change)
        local value, counter, left = values[i], ask[i + 1], nil
        if values.err then
          -- It cannot be read.
        elseif not value then
          if kind == 'spent' and took == 0 then -- nothing was held of it: this is its beginning
            begin_period(ask[1], counter, life, now)
            left = by
          end
        elseif kind == 'window' then
          left = settled(name_of(counter, owner), value, slice_at(at, life), by, slice_at(now, life))
        elseif tonumber(value) then
          left = math.max(0, value + by)
        end
        if left then
          fields[#fields + 1] = counter
          fields[#fields + 1] = left
        end
      end
      if #fields > 1 then redis.call('HSET', unpack(fields)) end
    end
    first = next
  end
end
