#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace agent {

// What comes within this time is read together, and what is due by then is sent together, so that no thread is woken
// thousands of times a second.
inline constexpr std::chrono::milliseconds kTogether{4};

// How to reach an API server, and as whom: a client certificate (files), a token, or nobody.
struct Server {
  std::string url;  // http:// or https://, host and port
  std::string ca_file, certificate_file, key_file, token;
};

// One keep-alive connection over HTTP/1.1, of one thread. status 0: the connection failed.
class Connection {
 public:
  struct Answer {
    int status = 0;
    std::string body;
  };

  explicit Connection(const Server& server);
  ~Connection();

  Answer get(const std::string& path);

  // The same in two steps, so that one thread has many under way: these write the request, and finish() reads its
  // answer, waiting for it if need be.
  void start_get(const std::string& path);
  void start_merge_patch(const std::string& path, const std::string& body);
  Answer finish();
  // To poll for the answer; -1 when the connection failed: finish() has the rest then.
  int descriptor() const;
  // Where that is readable: whether it is the answer.
  bool has_answer();
  // Gives up what is under way.
  void close();

  // Reads a watch until the server ends it or `event` returns false; its status. An event is a line of JSON, or a frame
  // of protobuf without its length, which is not empty and begins with no bracket.
  int stream(const std::string& path, const std::function<bool(std::string_view)>& event);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace agent
