#include "kube/client/event_loop.h"

#include <doctest/doctest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <future>
#include <vector>

namespace sharder::kube {
namespace {

using namespace std::chrono_literals;

TEST_CASE("tasks run in order on the loop's thread, timers when they are due") {
  EventLoop loop("loop", Logger::none());
  std::vector<int> order;
  std::promise<void> done;
  CHECK_FALSE(loop.on_thread());
  loop.post([&] {
    CHECK(loop.on_thread());
    order.push_back(1);
    loop.post_after(20ms, [&] {
      order.push_back(4);
      done.set_value();
    });
    loop.post_after(10ms, [&] { order.push_back(3); });
    loop.cancel(loop.post_after(5ms, [&] { order.push_back(0); }));
  });
  loop.post([&] { order.push_back(2); });
  REQUIRE(done.get_future().wait_for(60s) == std::future_status::ready);
  CHECK(order == std::vector{1, 2, 3, 4});
}

TEST_CASE("a descriptor is watched until it is not") {
  struct Reader final : FdHandler {
    explicit Reader(EventLoop& on) : loop(on) {}
    void on_ready(int fd, std::uint32_t events) override {
      CHECK((events & EPOLLIN) != 0);
      std::array<char, 8> bytes{};
      seen.append(bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(read(fd, bytes.data(), bytes.size()), 0)));
      if (seen.ends_with('!')) {
        loop.unwatch(fd);
        done.set_value();
      }
    }
    EventLoop& loop;
    std::string seen;
    std::promise<void> done;
  };
  EventLoop loop("loop", Logger::none());
  Reader reader(loop);
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  loop.post([&] {
    loop.watch(ends[0], EPOLLIN, reader);
    loop.watch(ends[0], EPOLLIN, reader);  // again: only changes it
  });
  REQUIRE(write(ends[1], "ab", 2) == 2);
  REQUIRE(write(ends[1], "c!", 2) == 2);
  REQUIRE(reader.done.get_future().wait_for(60s) == std::future_status::ready);
  loop.stop({});
  CHECK(reader.seen == "abc!");
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("stop runs its last task and what that posts, but no timers") {
  std::vector<int> order;
  EventLoop loop("loop", Logger::none());
  loop.post_after(1h, [&] { order.push_back(0); });
  loop.stop([&] {
    order.push_back(1);
    loop.post([&] {
      order.push_back(2);
      loop.post([&] { order.push_back(3); });
    });
  });
  CHECK(order == std::vector{1, 2, 3});
  loop.stop({});  // again: nothing
}

}  // namespace
}  // namespace sharder::kube
