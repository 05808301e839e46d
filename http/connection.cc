#include "http/connection.h"

#include <algorithm>
#include <exception>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace sharder::http {
namespace {

// Pipelined requests that are answered before other connections get their turn.
constexpr int kRequestsPerTurn = 16;

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

}  // namespace

Connection::Connection(LoopState& loop, FileDescriptor socket, SslSession session, bool shed,
                       std::uint64_t client_ca_version)
    : Member(shed ? Standing::kShed : Standing::kFresh),
      loop_(loop),
      client_ca_version_(client_ca_version),
      registration_(loop.events, std::move(socket)),
      channel_(registration_.fd(), std::move(session)),
      slot_(std::make_shared<ReplySlot>(ReplySlot{.inbox = loop.inbox, .target = this})),
      input_(loop.buffers) {}

void Connection::start() {
  loop_.add(shared_from_this(), channel_.is_tls() ? Stage::kHandshake : first_stage());
  wait(Registration::Direction::kRead);
}

// A connection that is to be shed has the deadline of a head, which is shorter than that of an idle connection.
Stage Connection::first_stage() const {
  return standing() == Standing::kShed ? Stage::kHead : Stage::kIdle;
}

void Connection::on_ready() {
  readable_ = true;
  try {
    advance();
  } catch (const std::exception& error) {  // a bug, or no memory: it must not end the other connections
    loop_.server.log.error("connection failed", {{"error", exception_text(error)}});
    close();
  }
}

void Connection::on_deadline() {
  switch (stage()) {
    case Stage::kHead:
      reject({408, "the request's head took too long"});
      return advance();
    case Stage::kBody:
      reject({408, "the request's body took too long"});
      return advance();
    default:
      return close();
  }
}

void Connection::on_stop() {
  if (stage() == Stage::kIdle) {
    readable_ = true;
    advance();
  }
  if (stage() == Stage::kIdle || stage() == Stage::kHandshake) {
    close();
  }
}

void Connection::close() {
  if (stage() == Stage::kClosed) {
    return;
  }
  const auto self = loop_.remove(*this);
  slot_->target = nullptr;
  channel_.shut_down();
  registration_.close();
  if (!in_handler_) {  // else the handler may still look at the request
    input_.release();
  }
  unsent_ = {};
}

void Connection::advance() {
  const auto self = shared_from_this();
  bool more = true;
  for (int requests = 0; more;) {
    switch (stage()) {
      case Stage::kHandshake:
        more = shake_hands();
        break;
      case Stage::kIdle:
        if (++requests > kRequestsPerTurn && !input_.empty()) {
          enter(Stage::kHead);  // so that it is not taken for idle
          return loop_.events.post([self] { self->on_ready(); });
        }
        more = read_head();
        break;
      case Stage::kHead:
        more = read_head();
        break;
      case Stage::kBody:
        more = read_body();
        break;
      case Stage::kHandling:
        if (input_.empty()) {
          input_.release();
        }
        return;
      case Stage::kWriting:
        more = flush();
        break;
      case Stage::kLingering:
        more = linger();
        break;
      case Stage::kClosed:
        return;
    }
  }
}

bool Connection::shake_hands() {
  const IoResult result = channel_.handshake();
  switch (result.status) {
    case IoStatus::kDone:
      enter(first_stage());
      return true;
    case IoStatus::kWantRead:
      wait(Registration::Direction::kRead);
      return false;
    case IoStatus::kWantWrite:
      wait(Registration::Direction::kWrite);
      return false;
    case IoStatus::kNotTls:
      return reject({400, "this port speaks HTTPS, not HTTP"});
    case IoStatus::kRefused:
      return refuse();
    case IoStatus::kClosed:
    case IoStatus::kFailed:
      break;
  }
  add_one(loop_.counters.failed_handshakes);
  close();
  return false;
}

// In TLS 1.3 the client has sent its request already. Closing now would reset the connection, and the client would not
// learn the reason.
bool Connection::refuse() {
  add_one(loop_.counters.failed_handshakes);
  loop_.log_refusal(channel_.refusal());
  if (const auto& listener = loop_.server.options.on_refused_client) {
    listener();
  }
  channel_.shut_down();
  enter(Stage::kLingering);
  return true;
}

bool Connection::is_outdated() const {
  const auto* const client_ca = loop_.server.options.client_ca;
  return client_ca != nullptr && client_ca->version() != client_ca_version_;
}

bool Connection::read_head() {
  if (!input_.empty()) {
    const std::size_t limit = loop_.server.options.limits.max_header_bytes;
    const auto end = scanner_.scan(input_.view());
    if (!end) {
      return reject(end.error());
    }
    if (end->value_or(input_.view().size()) > limit) {
      return reject({431, "the request's head is too large"});
    }
    if (*end) {
      return begin_request(**end);
    }
    if (stage() == Stage::kIdle) {
      enter(Stage::kHead);
    }
  }
  return fill(0);
}

bool Connection::begin_request(std::size_t head_bytes) {
  const auto head = parse_head(input_.view().substr(0, head_bytes));
  if (!head) {
    return reject(head.error());
  }
  head_ = *head;
  head_bytes_ = head_bytes;
  const Limits& limits = loop_.server.options.limits;
  if (standing() == Standing::kShed) {
    return reject({503, "too many connections"});
  }
  if (head_.content_length.value_or(0) > limits.max_body_bytes) {
    return reject({413, "the body is too large"});
  }
  if (head_.chunked) {
    decoded_end_ = head_bytes_;
    decoder_.emplace(
        ChunkedDecoder::Limits{.max_body_bytes = limits.max_body_bytes, .max_ignored_bytes = limits.max_header_bytes});
  }
  return read_body();
}

bool Connection::read_body() {
  if (decoder_) {
    return read_chunked_body();
  }
  const std::size_t body_bytes = head_.content_length.value_or(0);
  if (input_.view().size() - head_bytes_ >= body_bytes) {
    return dispatch(body_bytes, head_bytes_ + body_bytes);
  }
  return wait_for_body() && fill(head_bytes_ + body_bytes);
}

bool Connection::read_chunked_body() {
  const auto progress = decoder_->decode(input_.bytes().subspan(decoded_end_));
  if (!progress) {
    return reject(progress.error());
  }
  const std::size_t next = decoded_end_ + progress->consumed;
  decoded_end_ += progress->body;
  if (progress->complete) {
    return dispatch(decoded_end_ - head_bytes_, next);
  }
  input_.erase(decoded_end_, next);
  return wait_for_body() && fill(0);
}

// False when the connection had to be closed.
bool Connection::wait_for_body() {
  if (stage() == Stage::kBody) {
    return true;
  }
  enter(Stage::kBody);
  if (head_.expects_continue && channel_.write(kContinue).status != IoStatus::kDone) {
    close();  // not even this fits: the client has not read its earlier answers
    return false;
  }
  return true;
}

// Reads what there is, or waits. `expected`: size of the request if known, else 0.
bool Connection::fill(std::size_t expected) {
  if (!readable_ && !channel_.has_buffered_input()) {
    wait(Registration::Direction::kRead);
    return false;
  }
  const auto room = input_.prepare(expected);
  if (room.empty()) {
    return reject({503, "too many large requests"});
  }
  const IoResult result = channel_.read(room);
  switch (result.status) {
    case IoStatus::kDone:
      input_.commit(result.bytes);
      return true;
    case IoStatus::kWantRead:
      readable_ = false;
      wait(Registration::Direction::kRead);
      return false;
    case IoStatus::kWantWrite:
      wait(Registration::Direction::kWrite);
      return false;
    default:
      close();
      return false;
  }
}

bool Connection::dispatch(std::size_t body_bytes, std::size_t request_bytes) {
  request_bytes_ = request_bytes;
  decoder_.reset();
  enter(Stage::kHandling);
  const std::string_view head = input_.view();
  const Request request{.method = head_.method.in(head),
                        .path = head_.path.in(head),
                        .query = head_.query.in(head),
                        .content_type = head_.content_type.in(head),
                        .authorization = head_.authorization.in(head),
                        .host = head_.host.in(head),
                        .body = head.substr(head_bytes_, body_bytes)};
  in_handler_ = true;
  try {
    loop_.handler->handle(request, make_reply(slot_));
  } catch (const std::exception& error) {  // its Reply is gone, so it has been answered with 500
    loop_.server.log.error("handler failed", {{"path", request.path}, {"error", exception_text(error)}});
  } catch (...) {
    loop_.server.log.error("handler failed", {{"path", request.path}, {"error", "unknown exception"}});
  }
  in_handler_ = false;
  if (stage() == Stage::kClosed) {
    input_.release();
    return false;
  }
  input_.consume(std::exchange(request_bytes_, 0));
  scanner_.reset();
  head_bytes_ = 0;
  return true;
}

void Connection::answer(Response response) {
  if (stage() != Stage::kHandling) {
    return;
  }
  const auto self = shared_from_this();
  add_one(loop_.counters.requests);
  close_after_ =
      !head_.keep_alive || loop_.stopping || loop_.server.draining.load(std::memory_order_relaxed) || is_outdated();
  const AnswerOptions options{.close = close_after_, .omit_body = head_.is_head};
  loop_.clear_out();
  if (!append_answer(loop_.out, response, loop_.date_line(), options)) {
    loop_.server.log.error("handler gave a malformed answer", {{"status", response.status}});
    const Response instead{.status = 500, .body = "malformed answer\n"};
    static_cast<void>(append_answer(loop_.out, instead, loop_.date_line(), options));
  }
  send(loop_.out);
  if (!in_handler_) {
    advance();
  }
}

bool Connection::reject(Rejection rejection) {
  const bool is_shed = rejection.status == 503;
  add_one(is_shed ? loop_.counters.shed : loop_.counters.rejected);
  loop_.server.log.debug("request rejected", {{"status", rejection.status}, {"reason", rejection.reason}});
  Response response{.status = rejection.status, .body = std::string(rejection.reason) + "\n"};
  if (is_shed) {
    response.headers.emplace_back("Retry-After", "1");
  }
  close_after_ = true;
  linger_after_ = true;
  loop_.clear_out();
  const bool is_head = head_bytes_ > 0 && head_.is_head;
  static_cast<void>(append_answer(loop_.out, response, loop_.date_line(), {.close = true, .omit_body = is_head}));
  send(loop_.out);
  return true;
}

void Connection::send(const std::string& out) {
  const IoResult result = channel_.write(out);
  switch (result.status) {
    case IoStatus::kDone:
      return finish_answer();
    case IoStatus::kWantRead:
    case IoStatus::kWantWrite:
      unsent_ = out.substr(result.bytes);
      sent_bytes_ = 0;
      enter(Stage::kWriting);
      return wait(result.status == IoStatus::kWantRead ? Registration::Direction::kRead
                                                       : Registration::Direction::kWrite);
    default:
      return close();
  }
}

bool Connection::flush() {
  const IoResult result = channel_.write(std::string_view(unsent_).substr(sent_bytes_));
  switch (result.status) {
    case IoStatus::kDone:
      unsent_ = {};
      finish_answer();
      return true;
    case IoStatus::kWantRead:
    case IoStatus::kWantWrite:
      sent_bytes_ += result.bytes;
      wait(result.status == IoStatus::kWantRead ? Registration::Direction::kRead : Registration::Direction::kWrite);
      return false;
    default:
      close();
      return false;
  }
}

void Connection::finish_answer() {
  if (!close_after_) {
    readable_ = false;
    return enter(Stage::kIdle);
  }
  // Closing a socket with unread input resets the connection, and the client may lose the answer.
  if (linger_after_ || input_.view().size() > request_bytes_) {
    channel_.shut_down();
    return enter(Stage::kLingering);
  }
  close();
}

bool Connection::linger() {
  if (!in_handler_) {
    input_.release();
  }
  if (channel_.discard().status == IoStatus::kWantRead) {
    wait(Registration::Direction::kRead);
  } else {
    close();
  }
  return false;
}

void Connection::wait(Registration::Direction direction) {
  if (input_.empty()) {
    input_.release();  // an idle connection has no buffer
  }
  registration_.wait(direction, shared_from_this());
}

}  // namespace sharder::http
