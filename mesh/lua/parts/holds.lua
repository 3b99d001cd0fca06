-- Holds: what a job takes of counters. What they count is not known here. Three kinds:
-- open    hold:<name>    counter; given back when the job ends
-- spent   spent:<name>   counter that lives for so many ms; when the job ends it is settled
-- window  window:<name>  hash: what was taken within the last so many ms, in 120 slices, with their sum; settled too
-- To settle is to put what the job has measured in the place of what it took. A hold without a unit (-) stays as it was taken.
-- A window forgets whole slices: in no period is more taken than the ceiling allows, and a place is free again after the period and
-- one slice at the latest.
local SLICES = 120

-- The window's sum once what is too old is left out, what is in `slice`, which slice is the newest (nil: all is too old, or there was
-- none), and which ones are too old.
local function sum_up(key, slice)
  local head = redis.call('HMGET', key, 'sum', 'at', slice)
  if not head[1] then return 0, 0, nil end
  local sum, at = tonumber(head[1]), tonumber(head[2])
  if slice <= at then return sum, tonumber(head[3] or '0'), at end
  if slice - at > SLICES then return 0, 0, nil end
  local old = {}
  for each = at - SLICES, slice - SLICES - 1 do old[#old + 1] = each end
  for _, taken in ipairs(redis.call('HMGET', key, unpack(old))) do sum = sum - (tonumber(taken or '0') or 0) end
  return sum, 0, at, old
end

-- The same, and what is too old is forgotten; the caller writes the sum.
local function slide(key, slice)
  local sum, own, at, old = sum_up(key, slice)
  if old then
    redis.call('HDEL', key, unpack(old))
  elseif not at then
    redis.call('DEL', key)
  end
  return sum, own, at
end

-- What is taken of a counter now; nothing is changed.
local function taken_of(kind, name, life_ms, now)
  if kind == 'window' then
    return (sum_up(P .. 'window:' .. name, math.floor(now * SLICES / life_ms)))
  end
  return tonumber(redis.call('GET', P .. (kind == 'open' and 'hold:' or 'spent:') .. name) or '0')
end

-- After how many ms the oldest slices have given back so much.
local function wait_ms(key, slice, more, period, now)
  local all = {}
  for each = slice - SLICES, slice do all[#all + 1] = each end
  for i, taken in ipairs(redis.call('HMGET', key, unpack(all))) do
    more = more - (tonumber(taken or '0') or 0)
    if more <= 0 then return math.max(1, math.ceil((all[i] + SLICES + 1) * period / SLICES) - now) end
  end
  return period
end

-- Take one hold. true, what is taken now and in which slice (of a window; else for how many ms) | false, what is taken already and how many ms to wait (0: nobody knows; -1:
-- it is more than the ceiling by itself).
local function take_hold(kind, name, amount, ceiling, life_ms, now)
  local wanted, most = tonumber(amount), tonumber(ceiling)
  if kind == 'window' then
    local key, period = P .. 'window:' .. name, tonumber(life_ms)
    local slice = math.floor(now * SLICES / period)
    local sum, own, at = slide(key, slice)
    if sum + wanted > most then return false, sum, wanted > most and -1 or wait_ms(key, slice, sum + wanted - most, period, now) end
    redis.call('HSET', key, 'sum', sum + wanted, 'at', slice, slice, own + wanted)
    if at ~= slice then redis.call('PEXPIRE', key, period * 2) end
    return true, sum + wanted, slice
  end
  local key = P .. (kind == 'open' and 'hold:' or 'spent:') .. name
  if wanted == 0 then -- of what has no price: nothing is written
    local sum = tonumber(redis.call('GET', key) or '0')
    return sum <= most, sum, sum <= most and tonumber(life_ms) or 0
  end
  local sum = redis.call('INCRBY', key, amount)
  if sum > most then
    if redis.call('DECRBY', key, amount) <= 0 then redis.call('DEL', key) end
    return false, sum - wanted, wanted > most and -1 or 0
  end
  if kind == 'spent' and sum == wanted then redis.call('PEXPIRE', key, life_ms) end
  return true, sum, tonumber(life_ms)
end

local function change_window(key, slice, by)
  local head = redis.call('HMGET', key, 'sum', 'at', slice)
  if head[3] and tonumber(head[2]) - slice <= SLICES then
    redis.call('HSET', key, 'sum', head[1] + by, slice, head[3] + by)
  end
end

-- What a job remembers of a hold. where: as take_hold tells it.
local function hold_line(kind, name, amount, unit, where)
  return kind .. ' ' .. amount .. ' ' .. unit .. ' ' .. where .. ' ' .. name .. '\n'
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

-- Parts a job's lines: those of these names, and the others.
local function part_holds(lines, names)
  local named, others = '', ''
  for line, name in (lines or ''):gmatch('(%S+ %d+ %S+ %d+ ([^\n]+)\n)') do
    if names[name] then named = named .. line else others = others .. line end
  end
  return named, others
end

-- End the holds that these lines tell. measured: by unit, what the job has really taken. lost: attempts of which nobody knows what they
-- took: each counts as all that was held. undo: as if nothing had ever been taken.
local function end_holds(lines, measured, lost, undo)
  for kind, amount, unit, where, name in (lines or ''):gmatch('(%S+) (%d+) (%S+) (%d+) ([^\n]+)\n') do
    if kind == 'open' then
      if redis.call('DECRBY', P .. 'hold:' .. name, amount) <= 0 then redis.call('DEL', P .. 'hold:' .. name) end
    elseif undo or unit ~= '-' then
      local by = (undo and 0 or (measured[unit] or 0) + lost * amount) - amount
      if by == 0 then
        -- It took what it was expected to take.
      elseif kind == 'window' then
        change_window(P .. 'window:' .. name, tonumber(where), by)
      elseif redis.call('INCRBY', P .. 'spent:' .. name, by) == by then
        if amount == '0' then
          redis.call('PEXPIRE', P .. 'spent:' .. name, where) -- nothing was held of it: this is its beginning
        else
          redis.call('DEL', P .. 'spent:' .. name) -- its time was over
        end
      end
    end
  end
end
