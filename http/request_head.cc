#include "http/request_head.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <string_view>
#include <utility>

#include "base/ascii.h"

namespace sharder::http {
namespace {

namespace beast = boost::beast;
using beast::http::field;

// Characters of a method (RFC 9110, 5.6.2): what a request may begin with.
bool is_token_char(char c) {
  return is_alphanumeric(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Beast tokenises and checks syntax; this class decides what the fields mean.
class HeadParser final : public beast::http::basic_parser<true> {
 public:
  explicit HeadParser(std::string_view head) : bytes_(head) {}

  std::expected<RequestHead, Rejection> run() {
    header_limit(static_cast<std::uint32_t>(bytes_.size() + 1));
    body_limit(boost::none);
    beast::error_code error;
    put(boost::asio::buffer(bytes_.data(), bytes_.size()), error);
    if (!rejection_ && error && error != beast::http::error::need_more) {
      rejection_ = syntax_rejection(error);
    }
    if (!rejection_ && !header_done_) {
      rejection_ = Rejection{400, "the request's head is malformed"};
    }
    if (!rejection_) {
      check_whole();
    }
    if (rejection_) {
      return std::unexpected(*rejection_);
    }
    return head_;
  }

 private:
  void on_request_impl(beast::http::verb /*verb*/, beast::string_view method, beast::string_view target, int version,
                       beast::error_code& error) override {
    head_.method = slice(view(method));
    version_ = version;
    set_target(view(method), view(target), error);
  }

  void on_field_impl(field name, beast::string_view /*name*/, beast::string_view text,
                     beast::error_code& error) override {
    const std::string_view value = view(text);
    if (!value.empty() && (value.data() < bytes_.data() || value.data() >= bytes_.data() + bytes_.size())) {
      return reject({400, "folded header lines are not supported"}, error);  // Beast has joined it in its own buffer
    }
    switch (name) {
      case field::host:
        once(has_host_, {400, "two Host headers"}, error);
        if (head_.host.size == 0) {
          head_.host = slice(value);
        }
        break;
      case field::content_length:
        once(has_content_length_, {400, "two Content-Length headers"}, error);
        if (!is_number(value)) {  // Beast takes lists, "5, 5"
          reject({400, "Content-Length is no number"}, error);
        }
        break;
      case field::transfer_encoding:
        once(has_transfer_encoding_, {400, "two Transfer-Encoding headers"}, error);
        if (!equals_ignoring_case(value, "chunked")) {
          reject({501, "only the transfer encoding chunked is known"}, error);
        }
        break;
      case field::content_encoding:
        if (!equals_ignoring_case(value, "identity")) {
          reject({415, "Content-Encoding is not supported"}, error);
        }
        break;
      case field::content_type:
        once(has_content_type_, {400, "two Content-Type headers"}, error);
        head_.content_type = slice(value);
        break;
      case field::authorization:
        once(has_authorization_, {400, "two Authorization headers"}, error);
        head_.authorization = slice(value);
        break;
      case field::expect:
        if (!equals_ignoring_case(value, "100-continue")) {
          reject({417, "only the expectation 100-continue is known"}, error);
        }
        head_.expects_continue = true;
        break;
      default:
        break;
    }
  }

  // Beast never gets any part of the body.
  void on_header_impl(beast::error_code& /*error*/) override { header_done_ = true; }
  void on_body_init_impl(const boost::optional<std::uint64_t>& /*length*/, beast::error_code& /*error*/) override {}
  std::size_t on_body_impl(beast::string_view /*body*/, beast::error_code& /*error*/) override { return 0; }
  void on_chunk_header_impl(std::uint64_t /*size*/, beast::string_view /*extensions*/,
                            beast::error_code& /*error*/) override {}
  std::size_t on_chunk_body_impl(std::uint64_t /*remain*/, beast::string_view /*body*/,
                                 beast::error_code& /*error*/) override {
    return 0;
  }
  void on_finish_impl(beast::error_code& /*error*/) override {}
  void on_response_impl(int /*status*/, beast::string_view /*reason*/, int /*version*/,
                        beast::error_code& /*error*/) override {}

  static std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

  Slice slice(std::string_view part) const {
    if (part.empty()) {
      return {};
    }
    return {static_cast<std::uint32_t>(part.data() - bytes_.data()), static_cast<std::uint32_t>(part.size())};
  }

  void reject(Rejection rejection, beast::error_code& error) {
    rejection_ = rejection_.value_or(rejection);
    error = beast::http::error::bad_field;
  }

  void once(bool& seen, Rejection otherwise, beast::error_code& error) {
    if (std::exchange(seen, true)) {
      reject(otherwise, error);
    }
  }

  void set_target(std::string_view method, std::string_view target, beast::error_code& error) {
    for (const std::string_view scheme : {"http://", "https://"}) {  // absolute-form: RFC 9112, 3.2.2
      if (equals_ignoring_case(target.substr(0, scheme.size()), scheme)) {
        target.remove_prefix(scheme.size());
        const auto authority_end = std::min(target.find_first_of("/?"), target.size());
        if (authority_end == 0) {
          return reject({400, "the target has no authority"}, error);
        }
        head_.host = slice(target.substr(0, authority_end));
        target.remove_prefix(authority_end);
        if (!target.starts_with('/')) {
          return reject({400, "the target has no path"}, error);
        }
        break;
      }
    }
    if (!target.starts_with('/') && !(target == "*" && method == "OPTIONS")) {
      return reject({400, "the target is no path"}, error);
    }
    if (std::ranges::any_of(target, [](unsigned char c) { return c >= 0x7F || c == '#'; })) {
      return reject({400, "the target has characters that must be encoded"}, error);
    }
    const auto question = target.find('?');
    head_.path = slice(target.substr(0, question));
    if (question != std::string_view::npos) {
      head_.query = slice(target.substr(question + 1));
    }
  }

  // "GET /path HTTP/2.0" has another version of the protocol, "GET /a path HTTP/1.1" has none.
  Rejection syntax_rejection(const beast::error_code& error) const {
    using Code = beast::http::error;
    if (error == Code::bad_version) {
      const auto target = bytes_.find(' ');
      const auto version = bytes_.find(' ', target == std::string_view::npos ? 0 : target + 1);
      const bool named = version != std::string_view::npos && bytes_.substr(version + 1).starts_with("HTTP/");
      return named ? Rejection{505, "only HTTP/1.1 and HTTP/1.0 are spoken here"}
                   : Rejection{400, "the request line is malformed"};
    }
    if (error == Code::bad_content_length || error == Code::multiple_content_length) {
      return {400, "Content-Length is malformed, or stands beside Transfer-Encoding"};
    }
    if (error == Code::bad_transfer_encoding) {
      return {400, "Transfer-Encoding is malformed, or stands beside Content-Length"};
    }
    if (error == Code::bad_method || error == Code::bad_target) {
      return {400, "the request line is malformed"};
    }
    return {400, "a header is malformed"};
  }

  void check_whole() {
    const bool is_1_0 = version_ < 11;
    if (has_transfer_encoding_ && has_content_length_) {
      rejection_ = Rejection{400, "Content-Length and Transfer-Encoding"};
    } else if (has_transfer_encoding_ && is_1_0) {
      rejection_ = Rejection{400, "HTTP/1.0 knows no Transfer-Encoding"};
    } else if (!has_host_ && !is_1_0) {
      rejection_ = Rejection{400, "no Host header"};
    }
    head_.chunked = has_transfer_encoding_;
    if (has_content_length_ && content_length()) {
      head_.content_length = *content_length();
    }
    head_.keep_alive = !is_1_0 && keep_alive();
    head_.expects_continue = head_.expects_continue && !is_1_0;
    const std::string_view method = head_.method.in(bytes_);
    head_.is_head = method == "HEAD";
    if (!rejection_ && head_.has_body() && (method == "GET" || head_.is_head)) {
      rejection_ = Rejection{400, "a GET has no body"};
    }
  }

  const std::string_view bytes_;
  RequestHead head_;
  std::optional<Rejection> rejection_;
  int version_ = 11;
  bool header_done_ = false;
  bool has_host_ = false;
  bool has_content_length_ = false;
  bool has_transfer_encoding_ = false;
  bool has_content_type_ = false;
  bool has_authorization_ = false;
};

}  // namespace

std::expected<std::optional<std::size_t>, Rejection> HeadScanner::scan(std::string_view bytes) {
  if (scanned_ == 0 && !bytes.empty() && !is_token_char(bytes.front())) {
    return std::unexpected(Rejection{400, "this is no HTTP request"});
  }
  for (;;) {
    const auto newline = bytes.find('\n', scanned_);
    if (newline == std::string_view::npos) {
      scanned_ = bytes.size();
      return std::nullopt;
    }
    if (newline == line_begin_ || bytes[newline - 1] != '\r') {
      return std::unexpected(Rejection{400, "a line ends without CR"});
    }
    if (newline == line_begin_ + 1) {
      return newline + 1;
    }
    if (bytes[line_begin_] == ' ' || bytes[line_begin_] == '\t') {
      return std::unexpected(Rejection{400, "folded header lines are not supported"});
    }
    scanned_ = newline + 1;
    line_begin_ = newline + 1;
  }
}

std::expected<RequestHead, Rejection> parse_head(std::string_view head) {
  return HeadParser(head).run();
}

}  // namespace sharder::http
