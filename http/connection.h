#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "http/channel.h"
#include "http/chunked_decoder.h"
#include "http/input_buffer.h"
#include "http/loop_state.h"
#include "http/poller.h"
#include "http/reply.h"
#include "http/request_head.h"
#include "http/roster.h"

namespace sharder::http {

// One client's connection, a state machine over the stages of roster.h:
//
//   kHandshake ─► kIdle ─► kHead ─► kBody ─► kHandling ─► kWriting ─► kIdle, kLingering or closed
//
// A stage that has everything it needs is skipped: a small request and its answer cost one read and one write.
// Owned by its loop's roster, on that loop's thread only.
class Connection final : public Member,
                         public ReadySink,
                         public ReplyTarget,
                         public std::enable_shared_from_this<Connection> {
 public:
  // `session`: null for plain HTTP. `shed`: its first request is answered with 503. `client_ca_version`: of what the
  // session verifies the client with, or an older one.
  Connection(LoopState& loop, FileDescriptor socket, SslSession session, bool shed,
             std::uint64_t client_ca_version = 0);

  // Adds it to the roster.
  void start();
  void on_ready() override;
  void on_deadline();
  // The loop stops: an idle connection handles a request that has arrived already, else it closes.
  void on_stop();
  void answer(Response response) override;
  // Closes without an answer (TLS: with close_notify). In any stage.
  void close();

 private:
  Stage first_stage() const;
  void advance();
  // Each returns whether there may be more to do now.
  bool shake_hands();
  bool refuse();
  bool read_head();
  bool begin_request(std::size_t head_bytes);
  bool read_body();
  bool read_chunked_body();
  bool wait_for_body();
  bool fill(std::size_t expected);
  bool dispatch(std::size_t body_bytes, std::size_t request_bytes);
  bool flush();
  bool linger();

  bool reject(Rejection rejection);
  void send(const std::string& out);
  void finish_answer();
  void wait(Registration::Direction direction);
  void enter(Stage next) { loop_.enter(*this, next); }

  // Whether the client was accepted by a CA that may no longer be the one.
  bool is_outdated() const;

  LoopState& loop_;
  const std::uint64_t client_ca_version_;
  Registration registration_;
  Channel channel_;
  std::shared_ptr<ReplySlot> slot_;
  InputBuffer input_;

  // The request that is read or answered:
  HeadScanner scanner_;
  RequestHead head_;
  std::size_t head_bytes_ = 0;     // 0: the head is not complete
  std::size_t request_bytes_ = 0;  // of input_, once the request is complete
  std::optional<ChunkedDecoder> decoder_;
  std::size_t decoded_end_ = 0;  // in input_: head and decoded body

  std::string unsent_;          // of an answer that did not fit into the socket
  std::size_t sent_bytes_ = 0;  // of unsent_
  bool readable_ = false;       // a read is worth trying before waiting
  bool close_after_ = false;    // after the answer
  bool linger_after_ = false;
  bool in_handler_ = false;
};

}  // namespace sharder::http
