#include "ops/status_pages.h"

#include <openssl/evp.h>

#include <array>
#include <utility>
#include <vector>

#include "base/base64.h"
#include "ops/answers.h"
#include "ops/loopback.h"
#include "ops/status_html.h"

namespace sharder::ops {
namespace {

constexpr std::string_view kPage = "/status";
constexpr std::string_view kFigures = "/status.json";

// The hash by which a Content-Security-Policy permits the content of the page's element `name`.
std::string hash_of_element(std::string_view name) {
  const std::string_view page = kStatusHtml;
  const std::string open = "<" + std::string(name) + ">";
  const auto begin = page.find(open) + open.size();
  const auto content = page.substr(begin, page.find("</" + std::string(name) + ">", begin) - begin);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(content.data(), content.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return "'sha256-" + encode_base64({reinterpret_cast<const char*>(digest.data()), size}) + "'";
}

// Nothing is loaded, run or shown but the page's own style and script, and the figures of the same server.
const std::string& policy() {
  static const std::string text = "default-src 'none'; connect-src 'self'; img-src data:; style-src " +
                                  hash_of_element("style") + "; script-src " + hash_of_element("script") +
                                  "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
  return text;
}

http::Response secured(std::string content_type, std::string body) {
  return {.content_type = std::move(content_type),
          .body = std::move(body),
          .headers = {{"Content-Security-Policy", policy()},
                      {"X-Content-Type-Options", "nosniff"},
                      {"X-Frame-Options", "DENY"},
                      {"Referrer-Policy", "no-referrer"},
                      {"Cross-Origin-Resource-Policy", "same-origin"},
                      {"Cross-Origin-Opener-Policy", "same-origin"},
                      {"Cache-Control", "no-store"}}};
}

}  // namespace

// On the loop.
struct StatusPages::Figures {
  const std::string& newest() {
    const SteadyTime now = clock.steady();
    if (json.empty() || now - gathered >= kLifetime) {
      json = to_json(gather());
      gathered = now;
    }
    return json;
  }

  const Gather gather;
  const Clock& clock;
  std::string json = {};
  SteadyTime gathered = {};
};

StatusPages::StatusPages(Gather gather, Executor& loop, const Clock& clock)
    : loop_(loop), figures_(std::shared_ptr<Figures>(new Figures{.gather = std::move(gather), .clock = clock})) {}

bool StatusPages::serves(std::string_view path) {
  return path == kPage || path == kFigures;
}

void StatusPages::answer(std::string_view path, http::Reply reply) const {
  if (path == kPage) {
    return reply(secured("text/html; charset=utf-8", std::string(kStatusHtml)));
  }
  loop_.post([figures = figures_, reply = std::move(reply)]() mutable {
    reply(secured("application/json", figures->newest()));
  });
}

void StatusHandler::handle(const http::Request& request, http::Reply reply) {
  if (!is_loopback_host(request.host)) {
    return reply(line(403, "call this machine localhost, 127.0.0.1 or [::1]"));
  }
  const std::string_view path = request.path == "/" ? kPage : request.path;
  if (!StatusPages::serves(path)) {
    return reply(line(404, "not found"));
  }
  if (!is_read(request.method)) {
    return reply(method_not_allowed());
  }
  pages_->answer(path, std::move(reply));
}

}  // namespace sharder::ops
