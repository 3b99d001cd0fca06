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
local EACH = 7 -- words of a hold

local function read_holds(told) return told and told ~= '' and cjson.decode(told) or {} end

local function name_of(counter, owner) return owner == '' and counter or counter .. ':' .. owner end

local function slice_at(now, period) return math.floor(now * SLICES / period) end

-- A window's sum, its newest slice and what was taken in that; nil when it is none.
local function read_window(value)
  local sum, at, own = value:match('^(%d+) (%d+) (%d+)$')
  return tonumber(sum), tonumber(at), own
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
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, life_ms) end -- the owner was forgotten
end
