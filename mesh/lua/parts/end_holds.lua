-- Holds end.

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

-- Give back one place.
local function leave(key, counter, by)
  local left = redis.pcall('HINCRBY', key, counter, by)
  if type(left) == 'number' and left < 0 then redis.call('HDEL', key, counter) end -- its owner had been forgotten
end

-- Change an owner's counters. ask: its key and the counters. changes: {kind, by, took, when, life ms} of each. What cannot be read is left.
local function settle(owner, ask, changes, now)
  local key = ask[1]
  if not changes[2] and changes[1][1] == 'open' then return leave(key, ask[2], changes[1][2]) end
  local values = redis.pcall('HMGET', unpack(ask))
  local fields = { key }
  for i, change in ipairs(values.err and {} or changes) do
    local kind, by, took, at, life = unpack(change)
    local value, counter, left = values[i], ask[i + 1], nil
    if not value then
      if kind == 'spent' and took == 0 then -- nothing was held of it: this is its beginning
        begin_period(key, counter, life, now)
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
  if fields[2] then redis.call('HSET', unpack(fields)) end
end

-- End holds. since: when the job was made. measured: by unit, what the job has really taken. lost: attempts of which nobody knows what they
-- took: each counts as all that was held. undo: as if nothing had ever been taken.
local function end_holds(holds, since, now, measured, lost, undo)
  local first = 1
  while holds[first] do
    local owner, after = holds[first + 2], first
    local ask, changes = { P .. 'holds:' .. owner }, {}
    repeat
      local kind, took, unit, at = holds[after], holds[after + 3], holds[after + 5], since
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
        ask[#ask + 1] = holds[after + 1]
        changes[#changes + 1] = { kind, by, took, at, holds[after + 6] }
      end
      after = after + EACH
    until holds[after + 2] ~= owner
    if changes[1] then settle(owner, ask, changes, now) end
    first = after
  end
end
