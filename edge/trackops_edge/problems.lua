-- Errors of the services as problem details (RFC 9457), and the type of streams.
--
-- An error comes here as google.rpc.Status in JSON, which the transcoder made of the gRPC status.
-- Envoy's Lua has no JSON; all that is needed here is to take such a text apart and put its parts,
-- as they are written, together in another way.

local TITLES = {
  [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found",
  [409] = "Conflict", [429] = "Too Many Requests", [499] = "Client Closed Request",
  [500] = "Internal Server Error", [501] = "Not Implemented", [502] = "Bad Gateway",
  [503] = "Service Unavailable", [504] = "Gateway Timeout",
}

-- The place after the string that begins at `at`.
local function after_string(text, at)
  local place = at + 1
  while true do
    local byte = assert(text:byte(place), "a string does not end")
    if byte == 34 then return place + 1 end
    place = place + (byte == 92 and 2 or 1)
  end
end

-- The place after the value that begins at `at`.
local function after_value(text, at)
  local depth, place = 0, at
  repeat
    local char = text:sub(place, place)
    if char == '"' then
      place = after_string(text, place)
    elseif char:find("[%[{]") then
      depth, place = depth + 1, place + 1
    elseif char:find("[%]}]") then
      depth, place = depth - 1, place + 1
    elseif depth > 0 then
      place = assert(text:find('[%[%]{}"]', place), "a value does not end")
    else
      place = text:find("[%s,%]}]", place) or #text + 1
    end
  until depth == 0
  return place
end

-- The members of an object, by name, as they are written; none where it is no object.
local function members(text)
  local found, place = {}, (text or ""):match("^%s*{%s*()")
  while place and text:sub(place, place) == '"' do
    local name_end = after_string(text, place)
    local value = text:match("^%s*:%s*()", name_end)
    local value_end = after_value(text, value)
    found[text:sub(place + 1, name_end - 2)] = text:sub(value, value_end - 1)
    place = text:match("^%s*,%s*()", value_end)
  end
  return found
end

-- The values of an array, as they are written; none where it is no array.
local function elements(text)
  local found, place = {}, (text or ""):match("^%s*%[%s*()")
  while place and text:sub(place, place) ~= "]" do
    local value_end = after_value(text, place)
    found[#found + 1] = text:sub(place, value_end - 1)
    place = text:match("^%s*,%s*()", value_end)
  end
  return found
end

-- The details of a status by the name of their type, such as ErrorInfo.
local function details_of(status)
  local found = {}
  for _, detail in ipairs(elements(status.details)) do
    local parts = members(detail)
    local name = (parts["@type"] or ""):match('([%w_]+)"$')
    if name then found[name] = parts end
  end
  return found
end

local function violations(bad_request)
  local found = {}
  for _, one in ipairs(elements(bad_request.field_violations or bad_request.fieldViolations)) do
    local parts = members(one)
    found[#found + 1] = string.format('{"field":%s,"detail":%s}',
      parts.field or '""', parts.description or '""')
  end
  return found
end

-- "ORDER_NOT_FOUND" to "Order not found"; another text than a reason is nil.
local function title_of(reason)
  local words = reason and reason:match('^"([A-Z][A-Z0-9_]*)"$')
  return words and (words:sub(1, 1) .. words:sub(2):lower():gsub("_", " "))
end

-- The problem's text, and after how many seconds to try again, if that is said. `body` is a status
-- in JSON; of any other text nothing is told.
local function problem(http_status, body)
  local status = members(body)
  local details = details_of(status)
  local info = details.ErrorInfo or {}
  local title = title_of(info.reason)
  local type = title and ("/docs#" .. info.reason:sub(2, -2)) or "about:blank"
  local parts = {
    string.format('"type":"%s"', type),
    string.format('"title":"%s"', title or TITLES[http_status] or "Error"),
    string.format('"status":%d', http_status),
  }
  if status.message then parts[#parts + 1] = '"detail":' .. status.message end
  if title then parts[#parts + 1] = '"reason":' .. info.reason end
  if title and info.metadata then parts[#parts + 1] = '"metadata":' .. info.metadata end
  if details.BadRequest then
    local found = table.concat(violations(details.BadRequest), ",")
    parts[#parts + 1] = '"errors":[' .. found .. ']'
  end
  local retry = details.RetryInfo or {}
  local seconds = (retry.retry_delay or retry.retryDelay or ""):match('^"([%d.]+)s"$')
  return "{" .. table.concat(parts, ",") .. "}", tonumber(seconds)
end

function envoy_on_request(handle)
  if handle:headers():get(":path"):find("^/v1/[^?]*:watch%f[?%z]") then
    handle:streamInfo():dynamicMetadata():set("trackops", "stream", true)
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = tonumber(headers:get(":status"))
  local type = headers:get("content-type") or ""
  if status < 400 then
    local known = handle:streamInfo():dynamicMetadata():get("trackops")
    if known and known.stream then headers:replace("content-type", "application/x-ndjson") end
    return
  end
  if type:find("^application/problem%+json") or type:find("^application/grpc") then return end
  local body = handle:body(true)
  headers = handle:headers()  -- those from before do not outlast the wait for the body
  local sent = body:getBytes(0, body:length())
  local made, text, seconds = pcall(problem, status, sent)
  if not made then text, seconds = problem(status, "") end
  headers:replace("content-type", "application/problem+json")
  headers:replace("content-length", tostring(body:setBytes(text)))
  if seconds then headers:replace("retry-after", tostring(math.max(1, math.ceil(seconds)))) end
end
