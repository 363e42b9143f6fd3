// A filesystem in memory of a given size, mounted for a test.
#pragma once

#include <gtest/gtest.h>
#include <sys/mount.h>

#include <filesystem>

#include "tests/temporary_folder.h"

namespace wush::testing {

class SmallDisk {
 public:
  // `options` as for mount -t tmpfs, for instance "size=64k".
  explicit SmallDisk(const char* options) : folder_(fast_parent()) {
    mounted_ = ::mount("wush-test", path().c_str(), "tmpfs", 0, options) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path().c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  // False without the right to mount.
  bool mounted() const { return mounted_; }
  const std::filesystem::path& path() const { return folder_.path(); }
  void remount(unsigned long flags, const char* options) const {
    ASSERT_EQ(::mount("wush-test", path().c_str(), "tmpfs", MS_REMOUNT | flags,
                      options),
              0);
  }

 private:
  TemporaryFolder folder_;
  bool mounted_ = false;
};

}  // namespace wush::testing
