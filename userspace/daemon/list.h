/* SPDX-License-Identifier: MIT */
/* A circular doubly linked list with a head, as in the kernel; an unlinked node points to itself. */
#ifndef TN_LIST_H
#define TN_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct tn_list {
	struct tn_list *next, *prev;
};

#define tn_entry(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))

static inline void tn_list_init(struct tn_list *list)
{
	list->next = list;
	list->prev = list;
}

static inline bool tn_list_empty(const struct tn_list *list)
{
	return list->next == list;
}

static inline void tn_list_add_tail(struct tn_list *head, struct tn_list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

static inline void tn_list_del(struct tn_list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	tn_list_init(node);
}

#endif /* TN_LIST_H */
