-- Each session refreshes with what its last refresh answered. The file has a refresh token a line.

dofile(os.getenv("LOAD_LUA") .. "/report.lua")

local waiting, head, tail = {}, 1, 0
local asked = false

function init()
  for _, token in ipairs(lines()) do
    tail = tail + 1
    waiting[tail] = token
  end
  math.randomseed(os.time() + number)
end

local function ask(token)
  return wrk.format("POST", "/refresh", { ["Content-Type"] = "application/json", Host = "localhost" },
    '{"refresh_token":"' .. token .. '"}')
end

function request()
  -- wrk asks the first thread once to see what comes, and sends nothing.
  if number == 0 and not asked then
    asked = true
    return ask(waiting[head])
  end
  local token = waiting[head]
  if not token then return ask("none is left") end
  waiting[head] = nil
  head = head + 1
  return ask(token)
end

function response(status, _, body)
  if count then count(status) end
  local token = body:match('"refresh_token":"([^"]+)"')
  if token then
    tail = tail + 1
    waiting[tail] = token
  end
end
