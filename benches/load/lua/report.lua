-- What the scripts share: threads with numbers, requests and delays, and one line of JSON at the end.

local threads, answers = {}, {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

-- This thread's share of the file's lines.
function lines()
  local count, place, mine = tonumber(os.getenv("LOAD_THREADS")), 0, {}
  for line in io.lines(os.getenv("LOAD_FILE")) do
    if place % count == number then table.insert(mine, line) end
    place = place + 1
  end
  return mine
end

local pause = tonumber(os.getenv("LOAD_PAUSE_MS") or "0")
if pause > 0 then
  -- Half of it to one and a half, so that connections do not march in step.
  function delay() return math.floor(pause * (0.5 + math.random()) + 0.5) end
end

-- To look at each answer costs time, so only where they differ.
if os.getenv("LOAD_STATUSES") then
  statuses = {}
  function count(status) statuses[tostring(status)] = (statuses[tostring(status)] or 0) + 1 end
  function response(status) count(status) end
end

function done(summary, latency)
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses") or {}) do
      answers[status] = (answers[status] or 0) + count
    end
  end
  local parts = {}
  for status, count in pairs(answers) do table.insert(parts, ('"%s":%d'):format(status, count)) end
  local errors = summary.errors
  io.write(("\nREPORT {\"requests\":%d,\"duration_us\":%d,\"p50_us\":%d,\"p99_us\":%d,\"max_us\":%d,"):format(
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max))
  io.write(("\"not_ok\":%d,\"connect\":%d,\"read\":%d,\"write\":%d,\"timeout\":%d,\"statuses\":{%s}}\n"):format(
    errors.status, errors.connect, errors.read, errors.write, errors.timeout, table.concat(parts, ",")))
end
