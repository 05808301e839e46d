# How every target is compiled. The presets in CMakePresets.json set these options, and CMAKE_COMPILE_WARNING_AS_ERROR where
# a warning has to stop the build: never in what a user builds with a compiler that we have not seen.
option(SHARDER_TESTS "Build the tests" ON)
option(SHARDER_FUZZ "Build the fuzz targets (clang)" OFF)
option(SHARDER_BENCH "Build the benchmarks" OFF)
option(SHARDER_COVERAGE "Instrument for line coverage" OFF)
set(SHARDER_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize takes them: address,undefined or thread")

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE}")
endif()

add_compile_options(-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -fno-omit-frame-pointer)
add_compile_options(-fstack-protector-strong)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  add_compile_options(-Wno-restrict)  # GCC 12 sees overlaps in std::string's inlined copies that are not there (PR 105651)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
  # It takes an element that a lookup returns for a part of the temporary key that it was looked up by.
  add_compile_options(-Wno-dangling-reference)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT SHARDER_SANITIZE)
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-clash-protection)
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    add_compile_options(-fcf-protection)
  endif()
endif()
# Position-independent executables, read-only relocations, no lazy binding, no executable stack.
add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie> -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)

if(SHARDER_SANITIZE)
  add_compile_options(-fsanitize=${SHARDER_SANITIZE} -fno-sanitize-recover=all)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # It takes libstdc++'s own error categories, whose types stay inside the library, for no objects.
    add_compile_options(-fno-sanitize=vptr)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Instrumented code hides initialisations from GCC; its manual says that this warning is then not to be relied on.
    add_compile_options(-Wno-maybe-uninitialized)
  endif()
  add_link_options(-fsanitize=${SHARDER_SANITIZE})
  if(SHARDER_SANITIZE STREQUAL "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Boost.Asio fences where its objects are destroyed; TSan does not know fences, and GCC says so.
    add_compile_options(-Wno-tsan)
  endif()
endif()
if(SHARDER_COVERAGE)
  add_compile_options(--coverage -fprofile-update=atomic)
  add_link_options(--coverage)
endif()
