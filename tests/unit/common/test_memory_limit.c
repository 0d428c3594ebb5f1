/* test_memory_limit.c - the smallest of all that limits the process counts. */
#include "common/memory_limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "files.h"
#include "unit.h"

static char root[64];

static void setup(void)
{
    snprintf(root, sizeof(root), "/tmp/tern-limit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static void teardown(void)
{
    remove_tree(root);
}

/* A file below root, with its folders. */
static void put(const char *name, const char *text)
{
    char path[512], *slash;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", root, name);
    slash = strrchr(path, '/');
    *slash = '\0';
    ck_assert_int_eq(file_mkdirs(path), 0);
    *slash = '/';
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

static int64_t physical(void)
{
    return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
}

START_TEST(without_groups_it_is_the_machine)
{
    ck_assert_int_eq(memory_limit(root), physical());
}
END_TEST

START_TEST(the_real_one_can_be_read)
{
    ck_assert_int_gt(memory_limit(""), 0);
    ck_assert_int_le(memory_limit(""), physical());
}
END_TEST

START_TEST(the_groups_of_v2_from_its_own_up_to_the_root)
{
    put("proc/self/cgroup", "0::/system.slice/tern.service\n");
    put("sys/fs/cgroup/system.slice/tern.service/memory.max", "max\n");
    ck_assert_int_eq(memory_limit(root), physical());
    put("sys/fs/cgroup/system.slice/memory.max", "300000000\n");
    ck_assert_int_eq(memory_limit(root), 300000000);
    put("sys/fs/cgroup/system.slice/tern.service/memory.max", "200000000\n");
    ck_assert_int_eq(memory_limit(root), 200000000);
    put("sys/fs/cgroup/system.slice/tern.service/memory.high", "150000000\n");
    ck_assert_int_eq(memory_limit(root), 150000000);
    put("sys/fs/cgroup/memory.max", "100000000\n"); /* as a container sees its own */
    ck_assert_int_eq(memory_limit(root), 100000000);
}
END_TEST

START_TEST(the_memory_group_of_v1)
{
    put("proc/self/cgroup", "9:cpu,cpuacct:/a\n5:memory:/docker/abc\n1:name=systemd:/x\n0::/y\n");
    put("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n");
    ck_assert_int_eq(memory_limit(root), physical());
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "70000000\n");
    ck_assert_int_eq(memory_limit(root), 70000000);
    put("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "60000000\n");
    ck_assert_int_eq(memory_limit(root), 60000000);
}
END_TEST

START_TEST(what_cannot_be_read_does_not_count)
{
    put("proc/self/cgroup", "junk\n\n0::\n0::/../../x\n5:memory\n0::/g\n");
    put("sys/fs/cgroup/g/memory.max", "many\n");
    put("sys/fs/cgroup/g/memory.high", "-5\n");
    ck_assert_int_eq(memory_limit(root), physical());
    put("sys/fs/cgroup/g/memory.high", "5000000x\n");
    ck_assert_int_eq(memory_limit(root), physical());
}
END_TEST

static Suite *memory_limit_suite(void)
{
    Suite *s = suite_create("memory_limit");
    TCase *t = tcase_create("memory_limit");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, without_groups_it_is_the_machine);
    tcase_add_test(t, the_real_one_can_be_read);
    tcase_add_test(t, the_groups_of_v2_from_its_own_up_to_the_root);
    tcase_add_test(t, the_memory_group_of_v1);
    tcase_add_test(t, what_cannot_be_read_does_not_count);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(memory_limit_suite)
