// The site that "make docs" builds of these pages. They are written for GitHub, and are not changed for it.
import { readFileSync, readdirSync, existsSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'

const docs = join(dirname(fileURLToPath(import.meta.url)), '..')
const repository = 'https://github.com/pagi-go/pagi-bridge'

// slugify names a heading as GitHub does, so that links to parts of pages hold on both.
const slugify = text => text.trim().toLowerCase().replace(/[^\p{L}\p{N}\p{M} _-]/gu, '').replaceAll(' ', '-')

const title = page => readFileSync(join(docs, page), 'utf8').match(/^# (.*)$/m)[1].replaceAll('`', '')

// chapters are the pages of a directory, in the order of their names.
const chapters = directory => readdirSync(join(docs, directory))
  .filter(name => name.endsWith('.md') && name !== 'README.md')
  .sort()
  .map(name => ({ text: title(join(directory, name)), link: `/${directory}/${name.slice(0, -3)}` }))

// sidebar follows the lists of README.md: a part for each of its headings, with the pages that are linked there.
function sidebar() {
  const parts = []
  for (const line of readFileSync(join(docs, 'README.md'), 'utf8').split('\n')) {
    if (line.startsWith('## ')) parts.push({ text: line.slice(3), items: [] })
    if (!parts.length) continue
    for (const [, text, page] of line.matchAll(/\[([^\]]+)\]\(([\w./-]+\.md)\)/g)) {
      if (page.startsWith('..') || text.endsWith('.md')) continue
      const link = '/' + page.replace(/(README)?\.md$/, '')
      const inside = page.endsWith('README.md') && { items: chapters(dirname(page)), collapsed: true }
      parts.at(-1).items.push({ text, link, ...inside })
    }
  }
  return parts.filter(part => part.items.length)
}

// outward makes links that leave these pages lead to the repository, and those to a README.md to the page it has become.
function outward(md) {
  const open = md.renderer.rules.link_open ?? ((tokens, i, options, env, self) => self.renderToken(tokens, i, options))
  md.renderer.rules.link_open = (tokens, i, options, env, self) => {
    const href = tokens[i].attrGet('href')
    if (href && !/^([a-z]+:|#|\/)/.test(href)) {
      const [path, anchor] = href.split('#')
      if (/(^|\/)README\.md$/.test(path)) tokens[i].attrSet('href', href.replace('README.md', 'index.md'))
      const target = posix.normalize(posix.join('docs', posix.dirname(env.relativePath), path))
      if (!target.startsWith('docs/')) {
        if (!existsSync(join(docs, '..', target))) throw new Error(`${env.relativePath}: ${href} leads nowhere`)
        tokens[i].attrSet('href', `${repository}/blob/main/${target}${anchor ? '#' + anchor : ''}`)
      }
    }
    return open(tokens, i, options, env, self)
  }
}

export default defineConfig({
  title: 'pagi-bridge',
  description: 'Perl web applications, CGI scripts and Go behind one server',
  base: process.env.DOCS_BASE ?? '/',
  cleanUrls: true,
  rewrites: page => page.replace(/README\.md$/, 'index.md'),
  srcExclude: ['node_modules/**'],
  markdown: { anchor: { slugify }, toc: { slugify }, headers: { slugify }, languageAlias: { psgi: 'perl', console: 'shellsession' }, config: outward },
  themeConfig: {
    search: { provider: 'local' },
    nav: [
      { text: 'Move a Perl site', link: '/tutorial-perl' },
      { text: 'Guide for Go', link: '/guide/' },
      { text: 'The site file', link: '/site' },
      { text: 'Operation', link: '/operations' },
    ],
    sidebar: sidebar(),
    outline: { level: [2, 3] },
    socialLinks: [{ icon: 'github', link: repository }],
  },
})
